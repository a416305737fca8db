package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// daemon is a buildkitd of the peer's side, run by root, with the registry settings that ibuild has, too.
type daemon struct {
	addr    string
	process *exec.Cmd
}

// startDaemon returns when the daemon takes requests. Its files are in a folder of the given name. The calling
// goroutine keeps its thread from then on: the kernel ends the daemon when that thread ends.
func (b *bench) startDaemon(name string) (*daemon, error) {
	buildkitd, err := b.env.Tool(b.ctx, "buildkitd")
	if err != nil {
		return nil, err
	}
	d := &daemon{addr: "unix://" + filepath.Join(b.dir, name+".sock")}
	d.process = exec.Command(buildkitd, "--config", b.env.IbuildConfig(), "--root", filepath.Join(b.dir, name), "--addr", d.addr, "--oci-worker-binary", "runc")
	d.process.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	runtime.LockOSThread()
	d.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	log, err := os.Create(filepath.Join(b.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d.process.Stdout, d.process.Stderr = log, log
	if err := d.process.Start(); err != nil {
		return nil, err
	}
	for range 100 {
		if exec.Command(b.buildctl, "--addr", d.addr, "debug", "workers").Run() == nil {
			return d, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	d.stop()
	return nil, fmt.Errorf("the peer's buildkitd does not answer, see %s", log.Name())
}

func (d *daemon) stop() {
	_ = d.process.Process.Signal(syscall.SIGTERM)
	_ = d.process.Wait()
}

// empty removes all that a daemon has built and pulled.
func (b *bench) empty(d *daemon) error {
	err := exec.CommandContext(b.ctx, b.buildctl, "--addr", d.addr, "prune", "--all").Run()
	time.Sleep(2 * time.Second) // the daemon removes snapshots after it has answered
	return err
}
