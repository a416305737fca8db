package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ibuild/ibuild/runner/gke"
	"github.com/urfave/cli/v2"
)

func jobDebugCommand() *cli.Command {
	return &cli.Command{
		Name:      "debug",
		Usage:     "show all that the cluster says about a job, on one page",
		ArgsUsage: "NAME",
		Description: `The state and what to do about it, each host with its containers, pod and node, the last lines of those that failed,
the last events in their order (those of the scheduler and the autoscaler are among them), what Kueue says, and the
quotas of the namespace. What you may not read is named.

   ibuild jobs debug train-x7k2q
   ibuild jobs debug --format json train-x7k2q | jq .events

Exit codes: 0 shown, 2 usage, or there is no such job, 3 credentials or rights, 4 cluster out of reach.`,
		Flags:  slices.Concat([]cli.Flag{formatFlag()}, clusterFlags()),
		Action: runJobDebug,
	}
}

func runJobDebug(c *cli.Context) error {
	format, err := oneOf(c, "format", "text", "json")
	if err != nil {
		return err
	}
	run, err := findJob(c)
	if err != nil {
		return err
	}
	report, err := run.Debug(c.Context)
	if err != nil {
		return err
	}
	if format == "json" {
		return writeJSON(c.App.Writer, report)
	}
	writeDebug(plainText{c.App.Writer}, report, shellCommand(c, run), time.Now())
	return nil
}

// shellCommand opens a shell in a pod of the job; %s is the pod.
func shellCommand(c *cli.Context, run *gke.Run) string {
	command := "kubectl"
	if name := c.String("kubeconfig"); name != "" {
		command += " --kubeconfig " + name
	}
	if name := c.String("context"); name != "" {
		command += " --context " + name
	}
	return command + " --namespace " + run.Namespace + " exec -it %s -- sh"
}

// writeDebug writes a report for people. w escapes what a terminal would act upon.
func writeDebug(w io.Writer, r *gke.Report, shell string, now time.Time) {
	fmt.Fprintf(w, "%s %s in the namespace %s, made %s ago\n", strings.ToLower(r.Kind), r.Job, r.Namespace, age(now.Sub(r.Created)))
	for _, name := range slices.Sorted(maps.Keys(r.Facts)) {
		fmt.Fprintf(w, "  %s: %s\n", name, r.Facts[name])
	}
	fmt.Fprintf(w, "\n%s%s%s\n", r.Phase, after(", attempt ", attemptText(r.Attempt)), after(": ", r.Message))
	if r.Hint != "" {
		fmt.Fprintf(w, "hint:  %s\n", r.Hint)
	}
	section(w, "the controller says", r.Conditions)
	section(w, "Kueue says", r.Queue)
	for _, h := range r.Hosts {
		writeDebugHost(w, r, h, shell)
	}
	if len(r.Events) > 0 {
		fmt.Fprintln(w, "\nevents, the newest last:")
	}
	for _, e := range r.Events {
		times := ""
		if e.Count > 1 {
			times = fmt.Sprintf(" (%d times)", e.Count)
		}
		fmt.Fprintf(w, "  %5s ago  %s  %s%s: %s\n", age(now.Sub(e.Time)), e.About, e.Reason, times, e.Message)
	}
	section(w, "quotas of the namespace", r.Quotas)
	section(w, "not readable", r.Unread)
}

func attemptText(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprint(n)
}

// section writes a list with a title, if there is something in it.
func section(w io.Writer, title string, list []string) {
	if len(list) > 0 {
		fmt.Fprintf(w, "\n%s:\n", title)
	}
	for _, text := range list {
		fmt.Fprintf(w, "  %s\n", text)
	}
}

// writeDebugHost writes what is known of one host.
func writeDebugHost(w io.Writer, r *gke.Report, h gke.HostReport, shell string) {
	name := fmt.Sprintf("host %d", h.Index)
	if r.Hosts[len(r.Hosts)-1].Slice > 0 {
		name += fmt.Sprintf(" of slice %d", h.Slice)
	}
	fmt.Fprintf(w, "\n%s: %s%s%s%s\n", name, h.Phase, after(", pod ", h.Pod), after(" on node ", h.Node), after(": ", h.Message))
	for _, group := range []struct {
		title string
		list  []string
	}{{"container ", h.Containers}, {"pod ", h.Conditions}, {"node ", h.OfNode}} {
		for _, text := range group.list {
			fmt.Fprintf(w, "  %s%s\n", group.title, text)
		}
	}
	if len(h.LastLines) > 0 {
		fmt.Fprintln(w, "  its last lines:")
	}
	for _, line := range h.LastLines {
		fmt.Fprintf(w, "    %s\n", line)
	}
	if h.Phase == gke.Running {
		fmt.Fprintf(w, "  a shell: "+shell+"\n", h.Pod)
	}
}
