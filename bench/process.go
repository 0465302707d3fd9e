package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/grpc-micro/micro/bench/peer"
)

// process is a child that answers requests, one at a time.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	in     *json.Encoder
	out    *json.Decoder
	stderr bytes.Buffer
	addr   string // where it serves
}

// build compiles the programs of the rows into dir.
func build(ctx context.Context, dir string, rows []row) error {
	args := []string{"build", "-o", dir + string(filepath.Separator)}
	seen := make(map[string]bool)
	for _, r := range rows {
		if !seen[r.program] {
			seen[r.program] = true
			args = append(args, "./peers/"+r.program)
		}
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build: %w (run it in the folder bench)", err)
	}
	return nil
}

// start starts a program and waits until it says that it is ready.
func start(ctx context.Context, path string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, path, args...)}
	p.cmd.Stderr = &p.stderr
	p.cmd.WaitDelay = 5 * time.Second
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.stdin, p.in, p.out = stdin, json.NewEncoder(stdin), json.NewDecoder(stdout)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	hello, err := p.read()
	if err != nil {
		p.stop()
		return nil, err
	}
	p.addr = hello.Addr
	return p, nil
}

// ask asks and waits for the answer.
func (p *process) ask(req peer.Request) (peer.Reply, error) {
	if err := p.in.Encode(req); err != nil {
		return peer.Reply{}, p.explain(err)
	}
	return p.read()
}

func (p *process) read() (peer.Reply, error) {
	var r peer.Reply
	if err := p.out.Decode(&r); err != nil {
		return r, p.explain(err)
	}
	if r.Error == "" && r.Result != nil {
		r.Error = r.Result.Error
	}
	if r.Error != "" {
		return r, p.explain(errors.New(r.Error))
	}
	return r, nil
}

func (p *process) explain(err error) error {
	return fmt.Errorf("%s: %w\n%s", filepath.Base(p.cmd.Path), err, p.stderr.Bytes())
}

// stop ends the process: it sees the end of its input, and is killed if that
// does not help.
func (p *process) stop() {
	_ = p.stdin.Close()
	kill := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait() // how it ended is not what is measured
}
