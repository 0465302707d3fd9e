package goldentest_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/grpc-micro/micro"
	commonv1 "github.com/grpc-micro/micro/protoc-gen-micro/testdata/common/v1"
	shopv1 "github.com/grpc-micro/micro/protoc-gen-micro/testdata/shop/v1"
	"github.com/grpc-micro/micro/protoc-gen-micro/testdata/shop/v1/shopv1micro"
	"github.com/grpc-micro/micro/resolver"
)

// The type has the stock client's methods, and no others but Close.
var _ shopv1.ShopClient = (*shopv1micro.ShopClient)(nil)

// shop fails the first calls of each method with Unavailable.
type shop struct {
	shopv1.UnimplementedShopServer

	failures             int32
	price, buy, fill, ls atomic.Int32
	deadline             atomic.Int64 // of the last call, in nanoseconds of the Unix era
}

func (s *shop) called(ctx context.Context, calls *atomic.Int32) error {
	at, _ := ctx.Deadline()
	s.deadline.Store(at.UnixNano())
	if calls.Add(1) <= s.failures {
		return status.Error(codes.Unavailable, "not now")
	}
	return nil
}

func (s *shop) Price(ctx context.Context, _ *shopv1.PriceRequest) (*commonv1.Money, error) {
	return &commonv1.Money{Units: 3}, s.called(ctx, &s.price)
}

func (s *shop) Buy(ctx context.Context, _ *shopv1.BuyRequest) (*timestamppb.Timestamp, error) {
	return timestamppb.New(time.Unix(7, 0)), s.called(ctx, &s.buy)
}

func (s *shop) Fill(stream grpc.ClientStreamingServer[shopv1.BuyRequest, commonv1.Money]) error {
	if err := s.called(stream.Context(), &s.fill); err != nil {
		return err
	}
	sum := new(commonv1.Money)
	for {
		req, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return stream.SendAndClose(sum)
		}
		if err != nil {
			return err
		}
		sum.Units += req.GetPrice().GetUnits()
	}
}

func (s *shop) List(_ *emptypb.Empty, stream grpc.ServerStreamingServer[shopv1.PriceRequest]) error {
	if err := s.called(stream.Context(), &s.ls); err != nil {
		return err
	}
	for _, article := range []string{"apple", "pear"} {
		if err := stream.Send(&shopv1.PriceRequest{Article: article}); err != nil {
			return err
		}
	}
	return nil
}

func (s *shop) Haggle(stream grpc.BidiStreamingServer[commonv1.Money, commonv1.Money]) error {
	for {
		bid, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(&commonv1.Money{Units: bid.GetUnits() + 1}); err != nil {
			return err
		}
	}
}

func newClient(t *testing.T, reg resolver.Registry, opts ...grpc.DialOption) *shopv1micro.ShopClient {
	t.Helper()
	c, err := shopv1micro.NewShopClient(reg, append(opts, micro.Insecure())...)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, c)
	return c
}

func TestCallsOfEveryKind(t *testing.T) {
	t.Parallel()
	ctx, reg := deadline(t), newRegistry(t)
	start(t, shopv1micro.NewShopService(new(shop), options(reg)...))
	c := newClient(t, reg)

	if got, err := c.Price(ctx, new(shopv1.PriceRequest)); err != nil || got.GetUnits() != 3 {
		t.Errorf("unary: %v, %v", got, err)
	}
	fill, err := c.Fill(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for units := range int64(4) {
		if err := fill.Send(&shopv1.BuyRequest{Price: &commonv1.Money{Units: units}}); err != nil {
			t.Fatal(err)
		}
	}
	if sum, err := fill.CloseAndRecv(); err != nil || sum.GetUnits() != 6 {
		t.Errorf("client stream: %v, %v", sum, err)
	}
	if got := articles(ctx, t, c); got != "apple pear " {
		t.Errorf("server stream: %q", got)
	}
	haggle, err := c.Haggle(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for bid := range int64(3) {
		if err := haggle.Send(&commonv1.Money{Units: bid}); err != nil {
			t.Fatal(err)
		}
		if got, err := haggle.Recv(); err != nil || got.GetUnits() != bid+1 {
			t.Fatalf("bidirectional stream: %v, %v", got, err)
		}
	}
	if err := haggle.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := haggle.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("end of the bidirectional stream: %v", err)
	}
}

func articles(ctx context.Context, t *testing.T, c shopv1.ShopClient) string {
	t.Helper()
	list, err := c.List(ctx, new(emptypb.Empty))
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for {
		article, err := list.Recv()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all += article.GetArticle() + " "
	}
}

// What the .proto says of deadlines reaches the server; an earlier one of the
// caller's wins.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	ctx, reg, srv := deadline(t), newRegistry(t), new(shop)
	start(t, shopv1micro.NewShopService(srv, options(reg)...))
	c := newClient(t, reg)
	price := func(ctx context.Context) error {
		_, err := c.Price(ctx, new(shopv1.PriceRequest))
		return err
	}
	buy := func(c *shopv1micro.ShopClient) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := c.Buy(ctx, new(shopv1.BuyRequest))
			return err
		}
	}
	const none = time.Hour // the test's is earlier
	checkTimeout(ctx, t, srv, "Price", 5500*time.Millisecond, price)
	short, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	checkTimeout(short, t, srv, "Price within 3 s", 5500*time.Millisecond, price)
	checkTimeout(ctx, t, srv, "Buy", 4*time.Second, buy(c))
	checkTimeout(ctx, t, srv, "List", none, func(ctx context.Context) error {
		articles(ctx, t, c)
		return nil
	})

	// A service config of the caller's takes the place of the generated one.
	own := newClient(t, reg, grpc.WithDefaultServiceConfig(`{}`))
	checkTimeout(ctx, t, srv, "Buy without the generated service config", none, buy(own))
}

// checkTimeout checks which deadline a call has at the server: the caller's, or
// that of the timeout. What travels is how much is left, so there it is later by
// as long as that takes; grpc rounds it to the precision of its header.
func checkTimeout(ctx context.Context, t *testing.T, srv *shop, name string, timeout time.Duration, call func(context.Context) error) {
	t.Helper()
	began := time.Now()
	if err := call(ctx); err != nil {
		t.Fatal(err)
	}
	ended := time.Now()
	earliest, _ := ctx.Deadline()
	latest := earliest
	if at := began.Add(timeout); at.Before(earliest) {
		earliest, latest = at, ended.Add(timeout)
	}
	earliest, latest = earliest.Add(-time.Millisecond), latest.Add(ended.Sub(began)+time.Millisecond)
	if at := time.Unix(0, srv.deadline.Load()); at.Before(earliest) || at.After(latest) {
		t.Errorf("%s had %v, want %v to %v", name, at.Sub(began), earliest.Sub(began), latest.Sub(began))
	}
}

// Only methods whose idempotency_level allows it are tried again, and streams
// of requests are not.
func TestRetries(t *testing.T) {
	t.Parallel()
	ctx, reg, srv := deadline(t), newRegistry(t), &shop{failures: 2}
	start(t, shopv1micro.NewShopService(srv, options(reg)...))
	c := newClient(t, reg)
	if _, err := c.Price(ctx, new(shopv1.PriceRequest)); err != nil || srv.price.Load() != 3 {
		t.Errorf("without side effects: %d tries, %v", srv.price.Load(), err)
	}
	if got := articles(ctx, t, c); got != "apple pear " || srv.ls.Load() != 3 {
		t.Errorf("idempotent, answering in a stream: %d tries, %q", srv.ls.Load(), got)
	}
	if _, err := c.Buy(ctx, new(shopv1.BuyRequest)); status.Code(err) != codes.Unavailable || srv.buy.Load() != 1 {
		t.Errorf("not idempotent: %d tries, %v", srv.buy.Load(), err)
	}
	fill, err := c.Fill(ctx)
	if err == nil {
		_, err = fill.CloseAndRecv()
	}
	if status.Code(err) != codes.Unavailable || srv.fill.Load() != 1 {
		t.Errorf("idempotent, asking in a stream: %d tries, %v", srv.fill.Load(), err)
	}
}

// A connection of the user's own, with nothing of micro's, takes the generated
// service config too.
func TestServiceConfigAlone(t *testing.T) {
	t.Parallel()
	ctx, reg, srv := deadline(t), newRegistry(t), new(shop)
	svc := shopv1micro.NewShopService(srv, options(reg)...)
	start(t, svc)
	conn, err := grpc.NewClient(svc.Addr().String(), micro.Insecure(), grpc.WithDefaultServiceConfig(shopv1micro.ShopServiceConfig))
	if err != nil {
		t.Fatal(err)
	}
	closing(t, conn)
	checkTimeout(ctx, t, srv, "Price", 5500*time.Millisecond, func(ctx context.Context) error {
		_, err := shopv1.NewShopClient(conn).Price(ctx, new(shopv1.PriceRequest))
		return err
	})
}

func TestFunction(t *testing.T) {
	t.Parallel()
	ctx, reg := deadline(t), newRegistry(t)
	wait := start(t, shopv1micro.NewShopFunction(new(shop), options(reg)...))
	c := newClient(t, reg)
	if got, err := c.Price(ctx, new(shopv1.PriceRequest)); err != nil || got.GetUnits() != 3 {
		t.Errorf("%v, %v", got, err)
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
}

func TestCredentialsAreAskedFor(t *testing.T) {
	t.Parallel()
	if c, err := shopv1micro.NewShopClient(newRegistry(t)); err == nil || c != nil {
		t.Errorf("got %v, %v", c, err)
	}
}
