// Command testenv starts the environment that the integration tests use, says
// what to export to try ibuild in it, and stays until it is interrupted. Its
// arguments are base images to have besides those that are quick to make. With
// -kube it starts a Kubernetes cluster, too, as root.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/ibuild/ibuild/integration/kube"
	"github.com/ibuild/ibuild/integration/testenv"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		os.Exit(1)
	}
}

// run prints what a shell can evaluate to out and everything else to chatter.
func run(ctx context.Context, args []string, out, chatter io.Writer) (err error) {
	flags := flag.NewFlagSet("testenv", flag.ContinueOnError)
	withCluster := flags.Bool("kube", false, "start a Kubernetes cluster with nodes as on GKE, too")
	pools := flags.String("pools", "cpu,l4", "the cluster's node pools: cpu, l4, a100x4, v5e, v5e-4x4")
	if err := flags.Parse(args); err != nil {
		return err
	}
	env, err := testenv.Start(ctx, testenv.Options{Buildkitd: true, Sites: true, Upstream: true, Log: chatter})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, env.Close()) }()
	for _, name := range append(env.Bases(), flags.Args()...) {
		if _, err := env.Base(ctx, name); err != nil {
			return err
		}
	}
	for _, line := range append(env.Environ(), env.Sites.Environ()...) {
		export(out, line)
	}
	export(out, "IBUILD_TEST_REGISTRY="+env.Registry.Addr)
	if *withCluster {
		cluster, err := startCluster(ctx, env, *pools, chatter)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, cluster.Close()) }()
		export(out, "KUBECONFIG="+cluster.Admin)
	}
	fmt.Fprintf(chatter, "registry %s (requests in %s), builder %s, ordinary user %s; Ctrl-C ends it\n",
		env.Registry.Addr, env.Registry.AccessLog, env.Buildkitd.Addr, env.User.Name)
	<-ctx.Done()
	return nil
}

// startCluster starts a cluster whose nodes and pods reach the environment's
// servers.
func startCluster(ctx context.Context, env *testenv.Env, pools string, chatter io.Writer) (*kube.Cluster, error) {
	nodes, err := kube.GKENodes(strings.Split(pools, ",")...)
	if err != nil {
		return nil, err
	}
	loopback := []string{env.Registry.Addr}
	for _, site := range []*testenv.Site{env.Sites.Open, env.Sites.Private} {
		loopback = append(loopback, strings.TrimPrefix(site.URL, "http://"))
	}
	return kube.Start(ctx, kube.Options{Nodes: nodes, Loopback: loopback, Log: chatter})
}

func export(out io.Writer, variable string) {
	name, value, _ := strings.Cut(variable, "=")
	fmt.Fprintf(out, "export %s='%s'\n", name, value)
}
