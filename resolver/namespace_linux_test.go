package resolver_test

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Another process is on the same host, unless it has a network of its own, as in
// a container: there nobody would answer.
func TestLocalSocketInAnotherNetwork(t *testing.T) {
	t.Parallel()
	hostOf := func(attr *syscall.SysProcAttr) (string, error) {
		cmd := exec.CommandContext(deadline(t), os.Args[0])
		cmd.Env, cmd.SysProcAttr = append(os.Environ(), localChild+"=1"), attr
		out, err := cmd.Output()
		host, _, _ := strings.Cut(string(out), "/")
		return host, err
	}
	_, local := listenLocal(t)
	if host, err := hostOf(nil); err != nil || host == "" || !strings.HasPrefix(local, host+"/") {
		t.Errorf("a process beside is on %q, %v, this one on %s", host, err, local)
	}
	host, err := hostOf(&syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET})
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("this machine lets no process have a network of its own: %v", err)
	}
	if err != nil || host == "" || strings.HasPrefix(local, host+"/") {
		t.Errorf("a process in another network is on %q, %v, this one on %s", host, err, local)
	}
}
