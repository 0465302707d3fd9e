package dev

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// lockPatience is how long a lock is waited for. Who had it may be gone: a process
// that this one starts has our files open until it runs its own program, and keeps
// their locks so long.
const lockPatience = 2 * time.Second

// folder is where a server keeps its data, locked against a second server in
// this process or another: kfake would open it twice and mix both up, and etcd
// would wait for ever.
type folder struct {
	root      string
	data      string // the part of it that the server gets
	temporary bool
	lock      *fileutil.LockedFile
}

// openFolder makes and locks a folder for the server that what names. One
// folder may hold both servers. No dir is one of its own, which close removes. It
// waits lockPatience for a lock, unless ctx ends.
func openFolder(ctx context.Context, what, dir string) (*folder, error) {
	f := &folder{root: dir, temporary: dir == ""}
	var err error
	if f.temporary {
		f.root, err = os.MkdirTemp("", "micro-"+what+"-")
	} else {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("dev: start %s: no data folder: %w: choose another one with WithDataDir", what, err)
	}
	f.data = filepath.Join(f.root, what)
	f.lock, err = lockFile(ctx, filepath.Join(f.root, what+".lock"))
	switch {
	case errors.Is(err, fileutil.ErrLocked):
		return nil, fmt.Errorf("dev: start %s: another %s uses the folder %s: stop it, or choose another folder with WithDataDir", what, what, f.root)
	case err != nil:
		return nil, fmt.Errorf("dev: start %s: cannot lock the folder %s: %w: choose another one with WithDataDir", what, f.root, err)
	}
	return f, nil
}

// lockFile makes and locks a file.
func lockFile(ctx context.Context, path string) (*fileutil.LockedFile, error) {
	tick := time.NewTicker(lockPatience / 100)
	defer tick.Stop()
	for began := time.Now(); ; {
		lock, err := fileutil.TryLockFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if !errors.Is(err, fileutil.ErrLocked) || time.Since(began) > lockPatience {
			return lock, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, err
		}
	}
}

// close lets go of the folder, and removes it if it was made for this run.
func (f *folder) close() error {
	err := f.lock.Close()
	if f.temporary {
		err = errors.Join(err, os.RemoveAll(f.root))
	}
	return err
}
