package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ibuild/ibuild/runner/bootstrap/contract"
	"github.com/ibuild/ibuild/runner/gke"
	"github.com/ibuild/ibuild/runner/launch"
	"github.com/urfave/cli/v2"
)

func jobsCommand() *cli.Command {
	return &cli.Command{
		Name:  "jobs",
		Usage: "list, follow, cancel and clean up the jobs of ibuild run, from any machine",
		Description: `All that is known of a job is in the cluster, so these commands work from each machine that reaches it.

   ibuild jobs list
   ibuild jobs logs --follow train-x7k2q
   ibuild jobs cleanup`,
		Subcommands: []*cli.Command{jobsListCommand(), jobStatusCommand(), jobLogsCommand(), jobResultCommand(), jobDebugCommand(), jobsCancelCommand(), jobsCleanupCommand()},
		Action:      noCommand,
	}
}

// openCluster is the cluster that the flags mean.
func openCluster(c *cli.Context) (*gke.Cluster, error) {
	return gke.Open(gke.Access{Kubeconfig: c.String("kubeconfig"), Context: c.String("context"), Namespace: c.String("namespace")})
}

// findJob finds the job that is the command's only argument.
func findJob(c *cli.Context) (*gke.Run, error) {
	if c.NArg() == 0 {
		return nil, &usage{msg: "the NAME of the job is missing", hint: "ibuild jobs list has the names; write " + c.Command.UsageText}
	}
	name, err := oneArg(c, "")
	if err != nil {
		return nil, err
	}
	cluster, err := openCluster(c)
	if err != nil {
		return nil, err
	}
	return cluster.Find(c.Context, name)
}

// selectionFlags say which jobs are meant.
func selectionFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "owner", Usage: "`USER@HOST` who submitted them, or all for everybody; by default jobs list shows everybody's, and jobs cleanup removes yours"},
		&cli.BoolFlag{Name: "all-namespaces", Aliases: []string{"A"}, Usage: "those of all namespaces"},
	}
}

func selection(c *cli.Context, everybody bool) gke.Selection {
	s := gke.Selection{AllNamespaces: c.Bool("all-namespaces"), Owner: c.String("owner")}
	switch {
	case s.Owner == "all" || s.Owner == "" && everybody:
		s.Owner = ""
	case s.Owner == "":
		s.Owner = owner()
	}
	return s
}

func jobsListCommand() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list the jobs of a namespace, the newest first",
		Description: `   ibuild jobs list
   ibuild jobs list --all-namespaces --owner me@laptop --format json

Exit codes: 0 listed, 2 usage, 3 credentials or rights, 4 cluster out of reach.`,
		Flags:  slices.Concat([]cli.Flag{formatFlag()}, selectionFlags(), clusterFlags()),
		Action: runJobsList,
	}
}

// jobLine is what list and status say of a job, for programs.
type jobLine struct {
	Name        string    `json:"name"`
	Namespace   string    `json:"namespace"`
	Owner       string    `json:"owner"`
	Source      string    `json:"source,omitempty"`
	Accelerator string    `json:"accelerator,omitempty"`
	Created     time.Time `json:"created"`
	Phase       gke.Phase `json:"phase"`
	Reason      string    `json:"reason,omitempty"`
	Message     string    `json:"message,omitempty"`
	Hint        string    `json:"hint,omitempty"`
	ExitCode    int       `json:"exitCode"`
	Results     string    `json:"results,omitempty"`
	Hosts       []jobHost `json:"hosts,omitempty"`
}

type jobHost struct {
	Slice    int       `json:"slice"`
	Index    int       `json:"index"`
	Pod      string    `json:"pod,omitempty"`
	Node     string    `json:"node,omitempty"`
	Phase    gke.Phase `json:"phase"`
	Message  string    `json:"message,omitempty"`
	ExitCode int       `json:"exitCode"`
}

func newJobLine(r *gke.Run, s gke.State) jobLine {
	l := jobLine{Name: r.Name, Namespace: r.Namespace, Owner: r.Fact("owner"), Source: r.Fact("source"), Accelerator: r.Fact("accelerator"), Created: r.Created(),
		Phase: s.Phase, Reason: s.Reason, Message: s.Message, Hint: s.Hint, ExitCode: s.ExitCode, Results: r.Fact(launch.ResultsFact)}
	for _, h := range s.Hosts {
		l.Hosts = append(l.Hosts, jobHost{h.Slice, h.Index, h.Pod, h.Node, h.Phase, h.Message, h.ExitCode})
	}
	return l
}

func runJobsList(c *cli.Context) error {
	format, err := oneOf(c, "format", "text", "json")
	if err != nil {
		return err
	}
	if c.NArg() > 0 {
		return &usage{msg: c.Command.HelpName + " takes no arguments: got " + strings.Join(c.Args().Slice(), " "), hint: "ibuild jobs status NAME shows one job"}
	}
	cluster, err := openCluster(c)
	if err != nil {
		return err
	}
	list, err := cluster.List(c.Context, selection(c, true))
	if err != nil {
		return err
	}
	lines := []jobLine{}
	for _, s := range list {
		lines = append(lines, newJobLine(s.Run, s.State))
	}
	if format == "json" {
		return writeJSON(c.App.Writer, lines)
	}
	if len(lines) == 0 {
		fmt.Fprintln(c.App.ErrWriter, "there are no jobs; ibuild run makes one")
		return nil
	}
	return writeJobs(c.App.Writer, lines, c.Bool("all-namespaces"))
}

func writeJobs(w io.Writer, lines []jobLine, namespaces bool) error {
	table := tabwriter.NewWriter(plainText{w}, 0, 0, 2, ' ', 0)
	head := "NAME\tPHASE\tACCELERATOR\tSOURCE\tOWNER\tAGE"
	if namespaces {
		head = "NAMESPACE\t" + head
	}
	fmt.Fprintln(table, head)
	for _, l := range lines {
		if namespaces {
			fmt.Fprintf(table, "%s\t", l.Namespace)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Name, l.Phase, l.Accelerator, l.Source, l.Owner, age(time.Since(l.Created)))
	}
	return table.Flush()
}

// age is a duration in its largest unit.
func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func jobStatusCommand() *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "say where a job is, what it waits for, and what to do about it",
		ArgsUsage: "NAME",
		Description: `   ibuild jobs status train-x7k2q
   ibuild jobs status --format json train-x7k2q

Exit codes: 0 told, 2 usage, or there is no such job, 3 credentials or rights, 4 cluster out of reach.`,
		Flags:  slices.Concat([]cli.Flag{formatFlag()}, clusterFlags()),
		Action: runJobStatus,
	}
}

func runJobStatus(c *cli.Context) error {
	format, err := oneOf(c, "format", "text", "json")
	if err != nil {
		return err
	}
	run, err := findJob(c)
	if err != nil {
		return err
	}
	s, err := run.State(c.Context)
	if err != nil {
		return err
	}
	l := newJobLine(run, s)
	if format == "json" {
		return writeJSON(c.App.Writer, l)
	}
	w := plainText{c.App.Writer}
	fmt.Fprintf(w, "job %s in the namespace %s, of %s, %s ago\n", l.Name, l.Namespace, l.Owner, age(time.Since(l.Created)))
	fmt.Fprintf(w, "%s on %s\n", l.Source, l.Accelerator)
	fmt.Fprintf(w, "%s%s\n", l.Phase, after(": ", l.Message))
	if l.Hint != "" {
		fmt.Fprintf(w, "hint:  %s\n", l.Hint)
	}
	for _, h := range l.Hosts {
		fmt.Fprintf(w, "  host %d of slice %d: %s%s%s\n", h.Index, h.Slice, h.Phase, after(" on ", h.Node), after(": ", h.Message))
	}
	return nil
}

func after(what, text string) string {
	if text == "" {
		return ""
	}
	return what + text
}

func jobsCancelCommand() *cli.Command {
	return &cli.Command{
		Name:      "cancel",
		Usage:     "end jobs, with what they run",
		ArgsUsage: "NAME...",
		Description: `The program gets SIGTERM, and then some time to end and for the results that there are. The jobs are gone from the
list then. One that has ended already is left as it is.

   ibuild jobs cancel train-x7k2q

Exit codes: 0 cancelled, 2 usage, or there is no such job, 3 credentials or rights, 4 cluster out of reach.`,
		Flags:  clusterFlags(),
		Action: runJobsCancel,
	}
}

func runJobsCancel(c *cli.Context) error {
	if c.NArg() == 0 {
		return &usage{msg: "the NAME of the job is missing", hint: "ibuild jobs list has the names; write " + c.Command.UsageText}
	}
	names, err := someArgs(c, "")
	if err != nil {
		return err
	}
	cluster, err := openCluster(c)
	if err != nil {
		return err
	}
	for _, name := range names {
		run, err := cluster.Find(c.Context, name)
		if err != nil {
			return err
		}
		s, err := run.State(c.Context)
		if err != nil {
			return err
		}
		if s.Phase.Ended() {
			say("", "job %s has %s already; ibuild jobs cleanup removes it", name, s.Phase)
			continue
		}
		if err := run.Cancel(c.Context); err != nil {
			return err
		}
		say("", "job %s is cancelled%s", name, leftResults(run))
	}
	return nil
}

// leftResults says where the results of a cancelled job are: nothing in the cluster does any more.
func leftResults(run *gke.Run) string {
	at := run.Fact(launch.ResultsFact)
	if at == "" {
		return ""
	}
	return "; what it leaves goes to " + contract.Tag(at, 0, 0) + " (an OCI artifact), and so on for further hosts"
}

func jobsCleanupCommand() *cli.Command {
	return &cli.Command{
		Name:  "cleanup",
		Usage: "remove jobs that have ended, and what is left of others",
		Description: `Removed is what ibuild has submitted, of yours, and nothing else: jobs that have ended, with --running all of them, and
Secrets and Services whose job is gone. Results in registries stay. In a terminal it asks before it cancels jobs that run,
and before it removes what others have submitted.

   ibuild jobs cleanup --dry-run
   ibuild jobs cleanup --running --owner all

Exit codes: 0 removed, 2 usage, 3 credentials or rights, 4 cluster out of reach.`,
		Flags: slices.Concat([]cli.Flag{
			&cli.BoolFlag{Name: "running", Usage: "cancel those that run, too"},
			&cli.BoolFlag{Name: "dry-run", Usage: "say what would go, and remove nothing"},
			&cli.BoolFlag{Name: "yes", Aliases: []string{"y"}, Usage: "ask nothing"},
		}, selectionFlags(), clusterFlags()),
		Action: runJobsCleanup,
	}
}

func runJobsCleanup(c *cli.Context) error {
	if c.NArg() > 0 {
		return &usage{msg: c.Command.HelpName + " takes no arguments: got " + strings.Join(c.Args().Slice(), " "), hint: "ibuild jobs cancel NAME ends one job"}
	}
	cluster, err := openCluster(c)
	if err != nil {
		return err
	}
	which, running, dry := selection(c, false), c.Bool("running"), c.Bool("dry-run")
	if !dry && (running || which.Owner != owner()) {
		would, err := cluster.Cleanup(c.Context, which, running, true)
		if err != nil {
			return err
		}
		if len(would) > 0 {
			yes, err := confirm(c, fmt.Sprintf("Remove %s?", strings.Join(would, ", ")))
			if err != nil || !yes {
				return err
			}
		}
	}
	removed, err := cluster.Cleanup(c.Context, which, running, dry)
	for _, what := range removed {
		fmt.Fprintln(plainText{c.App.Writer}, what)
	}
	if len(removed) == 0 && err == nil {
		fmt.Fprintln(c.App.ErrWriter, "there is nothing to clean up")
	}
	return err
}
