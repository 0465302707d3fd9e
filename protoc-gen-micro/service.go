package main

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
)

// generateService writes the name by which a service is found, and the
// constructors of both sides.
func generateService(g *protogen.GeneratedFile, stubs protogen.GoImportPath, s *protogen.Service) {
	name := s.GoName
	// What protoc-gen-go-grpc generates is in the package of the messages.
	server := g.QualifiedGoIdent(stubs.Ident(name + "Server"))
	client := g.QualifiedGoIdent(stubs.Ident(name + "Client"))
	register := g.QualifiedGoIdent(stubs.Ident("Register" + name + "Server"))
	newClient := g.QualifiedGoIdent(stubs.Ident("New" + name + "Client"))
	service := "*" + g.QualifiedGoIdent(microPackage.Ident("Service"))
	option := g.QualifiedGoIdent(microPackage.Ident("Option"))

	g.P()
	doc(g, name+"Name is the name by which the service is found.", s.Comments.Leading)
	g.P("const ", name, "Name = ", strconv.Quote(string(s.Desc.FullName())))

	for _, kind := range []struct{ name, does string }{
		{"Service", "returns a service that serves srv once it runs."},
		{"Function", "returns a function that serves one call with srv, and ends."},
	} {
		g.P()
		g.P("// New", name, kind.name, " ", kind.does)
		g.P("func New", name, kind.name, "(srv ", server, ", opts ...", option, ") ", service, " {")
		constructor := "New"
		if kind.name == "Function" {
			constructor = "NewFunction"
		}
		g.P("s := ", microPackage.Ident(constructor), "(", name, "Name, opts...)")
		g.P(register, "(s, srv)")
		g.P("return s")
		g.P("}")
	}

	conn := g.QualifiedGoIdent(grpcPackage.Ident("ClientConn"))
	dial := g.QualifiedGoIdent(grpcPackage.Ident("DialOption"))
	g.P()
	g.P("// ", name, "Client calls the service's instances. It is safe for concurrent use.")
	g.P("type ", name, "Client struct {")
	g.P(client)
	g.P()
	g.P("conn *", conn)
	g.P("}")

	config := serviceConfig(s)
	constant := strings.ToLower(name[:1]) + name[1:] + "ServiceConfig"
	g.P()
	g.P("// New", name, "Client connects to the service's instances in d, without blocking.")
	g.P("// Transport credentials are required; opts win over the defaults.")
	g.P("func New", name, "Client(d ", resolverPackage.Ident("Discovery"), ", opts ...", dial, ") (*", name, "Client, error) {")
	if config != "" {
		g.P("opts = append([]", dial, "{", grpcPackage.Ident("WithDefaultServiceConfig"), "(", constant, ")}, opts...)")
	}
	g.P("conn, err := ", microPackage.Ident("NewClient"), "(", name, "Name, d, opts...)")
	g.P("if err != nil {")
	g.P("return nil, err")
	g.P("}")
	g.P("return &", name, "Client{", newClient, "(conn), conn}, nil")
	g.P("}")

	closeName := "Close"
	if slices.ContainsFunc(s.Methods, func(m *protogen.Method) bool { return m.GoName == closeName }) {
		closeName = "CloseConn" // the service has a Close of its own
	}
	g.P()
	g.P("// ", closeName, " ends the connections. Calls that are under way fail.")
	g.P("func (c *", name, "Client) ", closeName, "() error { return c.conn.Close() }")

	if config != "" {
		g.P()
		g.P("// ", constant, " is what the .proto says of the methods: timeouts, and which")
		g.P("// calls may be sent again.")
		g.P("const ", constant, " = `", config, "`")
	}
}
