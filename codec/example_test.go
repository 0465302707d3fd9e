package codec_test

import (
	"context"
	"encoding/xml"
	"fmt"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/grpc-micro/micro/codec"
)

// The caller chooses the encoding of each call; the server answers in the same.
func Example() {
	lis := bufconn.Listen(1 << 16)
	srv := grpc.NewServer()
	healthpb.RegisterHealthServer(srv, health.NewServer())
	go func() {
		if err := srv.Serve(lis); err != nil {
			log.Fatal(err)
		}
	}()
	defer srv.Stop()

	conn, err := grpc.NewClient("passthrough:///local",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()

	client := healthpb.NewHealthClient(conn)
	reply, err := client.Check(context.Background(), &healthpb.HealthCheckRequest{}, grpc.CallContentSubtype(codec.JSON.Name()))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(reply.GetStatus())
	// Output: SERVING
}

// An event says how it is encoded; its reader looks the codec up.
func ExampleForContentType() {
	c, ok := codec.ForContentType("application/json; charset=utf-8")
	if !ok {
		log.Fatal("no such codec: import its package")
	}
	name := new(wrapperspb.StringValue)
	if err := c.Unmarshal([]byte(`"world"`), name); err != nil {
		log.Fatal(err)
	}
	fmt.Println(c.Name(), name.GetValue())
	// Output: json world
}

// xmlCodec is a codec as a program may write it.
type xmlCodec struct{}

func (xmlCodec) Name() string           { return "xml" }
func (xmlCodec) ContentTypes() []string { return []string{"application/xml"} }

func (xmlCodec) Append(dst []byte, v any) ([]byte, error) {
	out, err := xml.Marshal(v)
	return append(dst, out...), err
}

func (xmlCodec) Unmarshal(data []byte, v any) error { return xml.Unmarshal(data, v) }

func init() { codec.Register(xmlCodec{}) }

// A codec is written once, and registered by an init function. Its name is the
// content-subtype of RPCs, and its content types are those of events.
func ExampleRegister() {
	type Greeted struct{ Name string }
	c, _ := codec.ForContentType("application/xml")
	out, err := c.Append(nil, Greeted{Name: "world"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("application/grpc+%s: %s\n", c.Name(), out)
	// Output: application/grpc+xml: <Greeted><Name>world</Name></Greeted>
}
