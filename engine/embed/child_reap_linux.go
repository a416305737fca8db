package embed

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const reapEvery = 10 * time.Second

// reapDaemons buries the dead that nobody waits for: daemons such as
// fuse-overlayfs, one per mount, which become children of this process when they
// lose their parent. It never returns.
func reapDaemons() {
	self, session := os.Getpid(), ownSession()
	for range time.Tick(reapEvery) {
		for _, p := range processes() {
			if p.isDeadDaemon(self, session) {
				_, _ = unix.Wait4(p.pid, nil, unix.WNOHANG, nil)
			}
		}
	}
}

func ownSession() int {
	sid, err := unix.Getsid(0)
	if err != nil {
		return -1
	}
	return sid
}

// processStat is what /proc/PID/stat says of a process.
type processStat struct {
	pid, parent, session int
	state                string // "Z" is a zombie
}

// isDeadDaemon says that the process is a zombie that became a child of this one
// by losing its parent. Those made a session of their own to be daemons; a zombie
// of our session was started by some part of this program, which waits for it.
func (p processStat) isDeadDaemon(self, session int) bool {
	return p.state == "Z" && p.parent == self && p.session != session
}

// processes lists what runs; what ends meanwhile is left out.
func processes() []processStat {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []processStat
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		if p, ok := parseStat(string(b)); ok {
			out = append(out, p)
		}
	}
	return out
}

func parseStat(stat string) (processStat, bool) {
	// The command in parentheses may contain anything: count from its end.
	end := strings.LastIndex(stat, ") ")
	pid, _, ok := strings.Cut(stat, " ")
	if !ok || end < 0 {
		return processStat{}, false
	}
	f := strings.Fields(stat[end+2:]) // state, parent, process group, session, ...
	if len(f) < 4 {
		return processStat{}, false
	}
	p := processStat{state: f[0]}
	var errs [3]error
	p.pid, errs[0] = strconv.Atoi(pid)
	p.parent, errs[1] = strconv.Atoi(f[1])
	p.session, errs[2] = strconv.Atoi(f[3])
	return p, errs == [3]error{}
}

// killDescendants kills all that this process started, directly or not, and
// waits for their end. It must be called last: whoever waits for one of them too
// may not learn how it ended.
func killDescendants() {
	const tries = 100
	for range tries {
		pids := descendants(processes(), os.Getpid())
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// descendants lists the children of root, and theirs.
func descendants(all []processStat, root int) []int {
	children := map[int][]int{}
	for _, p := range all {
		children[p.parent] = append(children[p.parent], p.pid)
	}
	var out []int
	for queue := children[root]; len(queue) > 0; queue = queue[1:] {
		out = append(out, queue[0])
		queue = append(queue, children[queue[0]]...)
	}
	return out
}
