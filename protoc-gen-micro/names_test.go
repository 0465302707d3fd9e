package main_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"
)

// Whatever the package of the messages is called, no variable of a constructor
// has its name. The golden files names/conn and names/srv are compiled, too.
func TestNoVariableHidesThePackage(t *testing.T) {
	t.Parallel()
	source := header + `message M {} service Foo { rpc Do(M) returns (M) { option idempotency_level = IDEMPOTENT; } }`
	for _, pkg := range []string{"srv", "opts", "s", "d", "conn", "err", "micro", "grpc", "resolver", "string", "nil"} {
		t.Run(pkg, func(t *testing.T) {
			t.Parallel()
			files := generated(t, map[string]string{"w.proto": source}, "paths=source_relative,Mw.proto=example.com/"+pkg, "w.proto")
			for name, content := range files {
				checkNames(t, name, content)
			}
			if len(files) != 1 {
				t.Errorf("got %d files", len(files))
			}
		})
	}
}

func checkNames(t *testing.T, name, content string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, content, 0)
	if err != nil {
		t.Fatal(err)
	}
	taken := make(map[string]bool)
	for _, spec := range file.Imports {
		if taken[spec.Name.Name] {
			t.Errorf("two imports are called %s", spec.Name.Name)
		}
		taken[spec.Name.Name] = true
	}
	constructors := 0
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Recv != nil {
			continue
		}
		constructors++
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Field:
				for _, param := range n.Names {
					if taken[param.Name] {
						t.Errorf("%s has a parameter %s, which is also a package\n%s", f.Name, param, content)
					}
				}
			case *ast.AssignStmt:
				for _, left := range n.Lhs {
					if id, ok := left.(*ast.Ident); ok && taken[id.Name] {
						t.Errorf("%s has a variable %s, which is also a package\n%s", f.Name, id, content)
					}
				}
			}
			return true
		})
	}
	if constructors != 3 {
		t.Errorf("%d constructors in\n%s", constructors, content)
	}
}
