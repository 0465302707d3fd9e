package main

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// annotation is the number of each of our options.
const annotation = 73167

// place is where something stands in a .proto; lines and columns begin at 1,
// and are 0 in a file that was compiled without positions.
type place struct {
	file         string
	line, column int
}

func (p place) String() string {
	if p.line == 0 {
		return p.file
	}
	return fmt.Sprintf("%s:%d:%d", p.file, p.line, p.column)
}

// Where an annotation stands, by the numbers that its options have in their
// descriptor.

func eventOption(d protoreflect.MessageDescriptor) place { return position(d, 7, annotation) }

func keyOption(d protoreflect.FieldDescriptor) place { return position(d, 8, annotation) }

func methodOption(d protoreflect.MethodDescriptor) place { return position(d, 4, annotation) }

func goPackage(d protoreflect.FileDescriptor) place { return position(d, 8, 11) }

// position returns where that stands which the path leads to from d, or else d.
func position(d protoreflect.Descriptor, below ...int32) place {
	file := d.ParentFile()
	locations := file.SourceLocations()
	if locations.Len() == 0 {
		return place{file: file.Path()}
	}
	at := locations.ByDescriptor(d)
	path := append(slices.Clone(at.Path), below...)
	for n := range locations.Len() {
		// An option that is set field by field has one longer path for each.
		if l := locations.Get(n); len(l.Path) >= len(path) && slices.Equal(l.Path[:len(path)], path) {
			at = l
			break
		}
	}
	return place{file.Path(), at.StartLine + 1, at.StartColumn + 1}
}
