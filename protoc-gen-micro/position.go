package main

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// annotation is the number of each of our options.
const annotation = 73167

// Where an annotation stands, by the numbers that its options have in their
// descriptor.

func eventOption(d protoreflect.MessageDescriptor) string { return position(d, 7, annotation) }

func keyOption(d protoreflect.FieldDescriptor) string { return position(d, 8, annotation) }

func methodOption(d protoreflect.MethodDescriptor) string { return position(d, 4, annotation) }

func goPackage(d protoreflect.FileDescriptor) string { return position(d, 8, 11) }

// position returns file:line:column of what the path leads to from d, or else
// of d, or the file alone where it was compiled without positions.
func position(d protoreflect.Descriptor, below ...int32) string {
	file := d.ParentFile()
	locations := file.SourceLocations()
	if locations.Len() == 0 {
		return file.Path()
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
	return fmt.Sprintf("%s:%d:%d", file.Path(), at.StartLine+1, at.StartColumn+1)
}
