package dev

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// folder is where a server keeps its data, locked against a second server in
// this process or another: kfake would open it twice and mix both up.
type folder struct {
	data      string // the part of it that the server gets
	temporary bool

	root string
	lock *os.File
}

func openFolder(what, dir string) (*folder, error) {
	f := &folder{root: dir}
	var err error
	if dir == "" {
		f.temporary = true
		f.root, err = os.MkdirTemp("", "micro-"+what+"-")
	} else {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("dev: start %s: no data folder: %w", what, err)
	}
	f.data = filepath.Join(f.root, what)
	if err := os.MkdirAll(f.data, 0o700); err != nil {
		return nil, fmt.Errorf("dev: start %s: no data folder: %w", what, err)
	}
	if f.lock, err = os.OpenFile(filepath.Join(f.root, what+".lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("dev: start %s: cannot lock %s: %w", what, f.root, err)
	}
	if err := syscall.Flock(int(f.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("dev: start %s: another %s uses the folder %s: stop it, or choose another folder with WithDataDir: %w", what, what, f.root, err), f.lock.Close())
	}
	return f, nil
}

// close lets go of the folder, and removes it if it was made for this run.
func (f *folder) close() error {
	if f == nil {
		return nil
	}
	err := f.lock.Close()
	if f.temporary {
		err = errors.Join(err, os.RemoveAll(f.root))
	}
	return err
}
