package peer

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	pb "google.golang.org/grpc/interop/grpc_testing"
)

// slow is a server in which a call takes a while.
type slow struct {
	Client

	takes time.Duration
	err   error
}

func (s slow) Unary(_ context.Context, req *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	time.Sleep(s.takes)
	return &pb.SimpleResponse{Payload: req.GetPayload()}, s.err
}

func TestJobs(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		job    Job
		client slow
		calls  int64
		p50    time.Duration
		err    string
	}{
		"as many as they can": {Job{Callers: 2, Duration: time.Second}, slow{takes: 100 * time.Millisecond}, 20, 100 * time.Millisecond, ""},
		"at a rate":           {Job{Callers: 2, Duration: time.Second, Rate: 10}, slow{takes: 100 * time.Millisecond}, 10, 100 * time.Millisecond, ""},
		"late calls count from when they were due": {Job{Callers: 1, Duration: time.Second, Rate: 10}, slow{takes: time.Second}, 10, 4600 * time.Millisecond, ""},
		"a failed call ends it":                    {Job{Callers: 1, Duration: time.Second}, slow{err: errors.New("no")}, 0, 0, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := test.job.run(t.Context(), calls{&test.job, test.client, nil}.job())
				p50 := r.Times.Quantile(0.5)
				if r.Calls != test.calls || r.Error != test.err || p50 < test.p50 || p50 > test.p50*21/20 {
					t.Errorf("%d calls, p50 %v, error %q; want %d, %v, %q", r.Calls, p50, r.Error, test.calls, test.p50, test.err)
				}
			})
		})
	}
}
