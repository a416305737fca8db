package node

import (
	"fmt"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// separate makes this process's mount namespace a machine of its own: what
// containerd, the kubelet and the network plugins write to fixed places goes
// into file systems that end with the namespace, everything else into dir.
func separate(dir string) error {
	resolv, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to this node: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	for _, hidden := range []string{"/run", "/var/lib", "/var/log"} {
		if err := unix.Mount("tmpfs", hidden, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
			return fmt.Errorf("hide %s: %w", hidden, err)
		}
	}
	if err := keepResolver(resolv); err != nil {
		return err
	}
	temp := filepath.Join(dir, "tmp")
	if err := os.MkdirAll(temp, 0o755); err != nil {
		return err
	}
	return os.Setenv("TMPDIR", temp)
}

// keepResolver writes the resolver's settings again where they were a link
// into a folder that is hidden now.
func keepResolver(content []byte) error {
	if _, err := os.Stat("/etc/resolv.conf"); err == nil {
		return nil
	}
	target, err := os.Readlink("/etc/resolv.conf")
	if err != nil {
		return err
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join("/etc", target)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, content, 0o644)
}

// listens says whether a program accepts connections at a socket.
func listens(socket string) bool {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
