package goldentest_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/grpc-micro/micro"
	"github.com/grpc-micro/micro/protoc-gen-micro/testdata/editions/v2023"
	"github.com/grpc-micro/micro/protoc-gen-micro/testdata/editions/v2023/v2023micro"
	"github.com/grpc-micro/micro/protoc-gen-micro/testdata/editions/v2024"
	"github.com/grpc-micro/micro/protoc-gen-micro/testdata/editions/v2024/v2024micro"
	"github.com/grpc-micro/micro/protoc-gen-micro/testdata/legacy"
	"github.com/grpc-micro/micro/protoc-gen-micro/testdata/legacy/legacymicro"
	"github.com/grpc-micro/micro/protoc-gen-micro/testdata/names/conn"
	"github.com/grpc-micro/micro/protoc-gen-micro/testdata/names/conn/connmicro"
	"github.com/grpc-micro/micro/protoc-gen-micro/testdata/names/srv"
	"github.com/grpc-micro/micro/protoc-gen-micro/testdata/names/srv/srvmicro"
)

// doorMan's methods are called like those that a generated client has.
type doorMan struct {
	conn.UnimplementedDoorManServer
}

func (doorMan) Close(context.Context, *conn.Knock) (*conn.Knock, error) {
	return &conn.Knock{Type: "close"}, nil
}

func (doorMan) CloseConn(context.Context, *conn.Knock) (*conn.Knock, error) {
	return &conn.Knock{Type: "close_conn"}, nil
}

func (doorMan) DoorManClient(context.Context, *conn.Knock) (*conn.Knock, error) {
	return &conn.Knock{Type: "door_man_client"}, nil
}

func TestMethodsNamedLikeOurs(t *testing.T) {
	t.Parallel()
	ctx, reg := deadline(t), newRegistry(t)
	start(t, connmicro.NewDoorManService(doorMan{}, options(reg)...))
	c, err := connmicro.NewDoorManClient(reg, micro.Insecure())
	if err != nil {
		t.Fatal(err)
	}
	var stock conn.DoorManClient = c // none is hidden
	for name, call := range map[string]func(context.Context, *conn.Knock, ...grpc.CallOption) (*conn.Knock, error){
		"close": stock.Close, "close_conn": stock.CloseConn, "door_man_client": stock.DoorManClient,
	} {
		if got, err := call(ctx, new(conn.Knock)); err != nil || got.GetType() != name {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if err := c.CloseConnConn(); err != nil {
		t.Error(err)
	}
}

type bell struct{ srv.UnimplementedBellServer }

func (bell) Ring(context.Context, *srv.Sound) (*srv.Sound, error) { return new(srv.Sound), nil }

func TestPackageNamedLikeAVariable(t *testing.T) {
	t.Parallel()
	reg := newRegistry(t)
	start(t, srvmicro.NewBellService(bell{}, options(reg)...))
	c, err := srvmicro.NewBellClient(reg, micro.Insecure())
	if err != nil {
		t.Fatal(err)
	}
	closing(t, c)
	if _, err := c.Ring(deadline(t), new(srv.Sound)); err != nil {
		t.Error(err)
	}
}

// Each kind of file, and each API of generated messages, finds its key.
func TestKeys(t *testing.T) {
	t.Parallel()
	entry, deed, seal := new(v2024.Entry), new(v2023.Deed), new(v2023.Deed_Seal)
	entry.SetId("2024")
	deed.SetId("2023")
	seal.Set_Owner("hybrid")
	seal.SetGetOwner("the other")
	for name, message := range map[string]func() (key []byte, err error){
		"2024":   func() ([]byte, error) { return key(v2024micro.EntryTopic.Message(entry)) },
		"2023":   func() ([]byte, error) { return key(v2023micro.DeedTopic.Message(deed)) },
		"hybrid": func() ([]byte, error) { return key(v2023micro.Deed_SealTopic.Message(seal)) },
		"proto2": func() ([]byte, error) {
			return key(legacymicro.LegacyRecordTopic.Message(&legacy.LegacyRecord{Id: new("proto2")}))
		},
		"attic": func() ([]byte, error) {
			return key(legacymicro.LegacyRecord_MovedTopic.Message(new(legacy.LegacyRecord_Moved)))
		},
		"reserved name": func() ([]byte, error) {
			return key(connmicro.KnockTopic.Message(&conn.Knock{String_: "reserved name"}))
		},
	} {
		if got, err := message(); err != nil || string(got) != name {
			t.Errorf("%s: key %q, %v", name, got, err)
		}
	}
}

// Services are found by the names that the .proto gives them, not by Go's.
func TestNamesOfServices(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"names.conn.door_man":      connmicro.DoorManName,
		"LegacyArchive":            legacymicro.LegacyArchiveName,
		"editions.v2024.Registrar": v2024micro.RegistrarName,
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if !strings.Contains(legacymicro.LegacyArchiveServiceConfig, `"service":"LegacyArchive"`) {
		t.Error(legacymicro.LegacyArchiveServiceConfig)
	}
}
