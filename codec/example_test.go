package codec_test

import (
	"fmt"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/grpc-micro/micro/codec"
)

func ExampleForContentType() {
	c, ok := codec.ForContentType("application/json; charset=utf-8")
	fmt.Println(c.Name(), ok)

	var d durationpb.Duration
	fmt.Println(c.Unmarshal([]byte(`"1.5s"`), &d), d.AsDuration())
	// Output:
	// json true
	// <nil> 1.5s
}
