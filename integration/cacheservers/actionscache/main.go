// Command actionscache serves the cache of GitHub Actions, as the runner of nektos/act has it: its arguments are the
// folder for its data, and the port on loopback. It believes every token.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/nektos/act/pkg/artifactcache"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "actionscache:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("the arguments are a folder and a port, not %q", args)
	}
	port, err := strconv.ParseUint(args[1], 10, 16)
	if err != nil {
		return err
	}
	h, err := artifactcache.StartHandler(args[0], "", "127.0.0.1", uint16(port), nil)
	if err != nil {
		return err
	}
	fmt.Println(h.ExternalURL())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	<-stop
	return h.Close()
}
