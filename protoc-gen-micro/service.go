package main

import (
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
)

// generateService writes the name by which a service is found, and the
// constructors of both sides. What protoc-gen-go-grpc generates for it is in
// stubs, the package of the messages.
func generateService(g *protogen.GeneratedFile, stubs protogen.GoImportPath, s *protogen.Service) {
	g.P()
	doc(g, s.GoName+"Name is the name by which the service is found.", s.Desc, s.Comments.Leading)
	g.P("const ", s.GoName, "Name = ", strconv.Quote(string(s.Desc.FullName())))

	generateServer(g, stubs, s, "Service", "New", "returns a service that serves srv once it runs.")
	generateServer(g, stubs, s, "Function", "NewFunction", "returns a function that serves one call with srv, and ends.")
	generateClient(g, stubs, s)
}

func generateServer(g *protogen.GeneratedFile, stubs protogen.GoImportPath, s *protogen.Service, kind, constructor, does string) {
	name := "New" + s.GoName + kind
	server := g.QualifiedGoIdent(stubs.Ident(s.GoName + "Server"))
	local := locals(server)
	g.P()
	g.P("// ", name, " ", does)
	deprecation(g, s.Desc)
	g.P("func ", name, "(", local("srv"), " ", server, ", ", local("opts"), " ...", microPackage.Ident("Option"), ") *", microPackage.Ident("Service"), " {")
	g.P(local("s"), " := ", microPackage.Ident(constructor), "(", s.GoName, "Name, ", local("opts"), "...)")
	g.P(stubs.Ident("Register"+s.GoName+"Server"), "(", local("s"), ", ", local("srv"), ")")
	g.P("return ", local("s"))
	g.P("}")
}

func generateClient(g *protogen.GeneratedFile, stubs protogen.GoImportPath, s *protogen.Service) {
	name := s.GoName + "Client"
	methods := g.QualifiedGoIdent(stubs.Ident(name))
	local := locals(methods)
	embedded := methods
	if hasMethod(s, name) {
		// Embedded by its own name it would hide that method.
		embedded = lowerFirst(name) + "Methods"
		g.P()
		g.P("type ", embedded, " = ", methods)
	}
	g.P()
	g.P("// ", name, " calls the service's instances. It is safe for concurrent use.")
	deprecation(g, s.Desc)
	g.P("type ", name, " struct {")
	g.P(embedded)
	g.P()
	g.P("conn *", grpcPackage.Ident("ClientConn"))
	g.P("}")

	config := serviceConfig(s)
	constant := s.GoName + "ServiceConfig"
	dialOption := g.QualifiedGoIdent(grpcPackage.Ident("DialOption"))
	g.P()
	g.P("// New", name, " connects to the service's instances in ", local("d"), ", without blocking.")
	g.P("// Transport credentials are required; ", local("opts"), " win over the defaults.")
	if config != "" {
		g.P("// A grpc.WithDefaultServiceConfig among them takes the place of all of")
		g.P("// ", constant, ", its timeouts and retries too.")
	}
	deprecation(g, s.Desc)
	g.P("func New", name, "(", local("d"), " ", resolverPackage.Ident("Discovery"), ", ", local("opts"), " ...", dialOption, ") (*", name, ", error) {")
	if config != "" {
		g.P(local("opts"), " = append([]", dialOption, "{", grpcPackage.Ident("WithDefaultServiceConfig"), "(", constant, ")}, ", local("opts"), "...)")
	}
	g.P(local("conn"), ", ", local("err"), " := ", microPackage.Ident("NewClient"), "(", s.GoName, "Name, ", local("d"), ", ", local("opts"), "...)")
	g.P("if ", local("err"), " != nil {")
	g.P("return nil, ", local("err"))
	g.P("}")
	g.P("return &", name, "{", stubs.Ident("New"+name), "(", local("conn"), "), ", local("conn"), "}, nil")
	g.P("}")

	closeName := "Close"
	for hasMethod(s, closeName) {
		closeName += "Conn" // the service has a Close of its own
	}
	g.P()
	g.P("// ", closeName, " ends the connections. Calls that are under way fail.")
	g.P("func (c *", name, ") ", closeName, "() error { return c.conn.Close() }")

	if config != "" {
		g.P()
		g.P("// ", constant, " is what the .proto says of the methods, for grpc: timeouts,")
		g.P("// and which calls may be sent again. ", name, " has it; a grpc.ClientConn of")
		g.P("// your own takes it by grpc.WithDefaultServiceConfig.")
		deprecation(g, s.Desc)
		g.P("const ", constant, " = `", config, "`")
	}
}

func hasMethod(s *protogen.Service, name string) bool {
	return slices.ContainsFunc(s.Methods, func(m *protogen.Method) bool { return m.GoName == name })
}

// locals returns how to name the variables of a generated function, so that
// none hides the package that an identifier is from: with messages in package
// conn, conn is conn_.
func locals(qualified string) func(string) string {
	pkg, _, _ := strings.Cut(qualified, ".")
	return func(name string) string {
		if name == pkg {
			return name + "_"
		}
		return name
	}
}

func lowerFirst(name string) string { return strings.ToLower(name[:1]) + name[1:] }
