package mdns_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/grpc-micro/micro/resolver/mdns"
)

const childEnv = "MICRO_TEST_MDNS_DOMAIN"

// childTTL is longer than a busy machine stands still: who is asked in time must be
// able to answer.
const childTTL = 6 * time.Second

// child starts a process that announces an instance by that name until it is
// killed, which is what the returned function does, or the test ends.
func child(t *testing.T, domain, id string) (kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+domain+"/"+id)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe() // ends with this process, and the child with it
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	kill = func() {
		if !killed {
			killed = true
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			_ = in.Close()
		}
	}
	t.Cleanup(kill)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "registered\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	return kill
}

// announceForEver is the child.
func announceForEver(config string) int {
	at, id, _ := strings.Cut(config, "/")
	r, err := mdns.New(mdns.WithInterfaces("lo"), mdns.WithDomain(at), mdns.WithTTL(childTTL))
	if err == nil {
		_, err = r.Register(context.Background(), instance(id))
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("registered")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}
