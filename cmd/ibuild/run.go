package main

import (
	"slices"

	"github.com/urfave/cli/v2"
)

func runCommand() *cli.Command {
	return &cli.Command{
		Name:      "run",
		Usage:     "run a script, notebook, folder, spec or image on an accelerator of a Kubernetes cluster",
		ArgsUsage: "SOURCE [-- ARG…]",
		Description: `SOURCE is a Python script, a notebook, a folder, an image spec, a Dockerfile, or the name of an image. ibuild looks
whether the cluster can hold the job, builds and pushes the image, submits it by digest, shows all hosts'
output, fetches the results, and ends with the program's exit code. What comes after -- goes to the program.

   ibuild run --accelerator l4 --repo ghcr.io/me/runs train.py -- --epochs 3
   ibuild run -a tpu-v5e-16 --queue research --output-dir out train.ipynb
   ibuild run -a a100x4 --spot --retries 2 --env-capture 'WANDB_*' --volume gs://data:/data:ro .
   ibuild run -a v5p-32 --slices 2 --dry-run train.py
   ibuild run -a l4 --detach train.py; ibuild jobs list

Modes: bundled (the default) puts the dependencies into the image; prebuilt starts from an image of
ibuild build-image and installs them when the pod starts; custom takes an image as it is.

Ctrl-C asks whether to cancel the job or to leave it running; a second one leaves it running.

Exit codes: the program's own; 1 the job or the build failed, 2 usage, 3 credentials or rights, 4 cluster or
registry out of reach, 130 cancelled. docs/run.md has all of it.`,
		Flags:  slices.Concat(runFlags(), placeFlags(), podFlags(), clusterFlags(), givenFlags(), builderFlags(), engineFlags()),
		Action: runRun,
	}
}

// runFlags say what runs, and what happens meanwhile.
func runFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "mode", Usage: "`MODE` of the dependencies: bundled, prebuilt or custom; bundled by default, and custom for an image", EnvVars: []string{"IBUILD_MODE"}},
		&cli.StringFlag{Name: "repo", Usage: "`REPOSITORY` that images and results are pushed to", EnvVars: []string{"IBUILD_RUN_REPO"}},
		&cli.StringFlag{Name: "image", Usage: "`IMAGE` that the program runs in, with --mode custom"},
		&cli.StringFlag{Name: "base-image-repo", Usage: "`REPOSITORY` of the images of ibuild build-image, with --mode prebuilt [$IBUILD_BASE_IMAGE_REPO, $KINETIC_BASE_IMAGE_REPO]"},
		&cli.StringFlag{Name: "base-image-tag", Usage: "`TAG` of those images; this release by default, or latest", EnvVars: []string{"IBUILD_BASE_IMAGE_TAG"}},
		&cli.StringFlag{Name: "python", Usage: "`X.Y` of a bundled image; what the source asks for by default"},
		&cli.StringFlag{Name: "folder", Usage: "`FOLDER` that goes along with the program, which is in it; the program's own by default"},
		&cli.StringFlag{Name: "carry", Usage: "`WHAT` of it goes along: folder (all of it) or imports (what the program imports)"},
		&cli.BoolFlag{Name: "no-bootstrap", Usage: "leave an image of --mode custom as it is: without ibuild's program in it, nothing is installed and no results come back"},
		&cli.StringFlag{Name: "name", Usage: "`NAME` of the job; made from the source's by default, with a suffix of its own"},
		&cli.StringFlag{Name: "output-dir", Usage: "`FOLDER` for what the program leaves in $IBUILD_OUTPUT_DIR; gs://BUCKET[/PATH] or pvc://CLAIM[/PATH] is mounted there instead"},
		&cli.StringFlag{Name: "results-auth", Usage: "`WAY` in which the pod may push results: login (the caller's, for this repository's registry), workload (the pod's own identity at Google) or none", Value: "login"},
		&cli.StringFlag{Name: "pull-secret", Usage: "`WAY` in which nodes log in to pull: auto (the caller's login, where there is one and the registry is not Google's) or none", Value: "auto"},
		&cli.DurationFlag{Name: "wait", Usage: "`TIME` that the job may wait for room that others take, such as 2h: nodes in use, quotas; by default 5 minutes for nodes and 2 for quotas. Nodes that an autoscaler makes and queues are waited for in any case"},
		&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "end when the job is submitted; see ibuild jobs"},
		&cli.BoolFlag{Name: "dry-run", Usage: "print the manifests, and build and submit nothing"},
		&cli.StringFlag{Name: "on-interrupt", Usage: "what Ctrl-C `DOES` to the job: ask, cancel or detach; where nobody can be asked, ask cancels", Value: "ask"},
		secretFlag(), noCacheFlag(), progressFlag(),
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print the program's output only; with --detach, the job's name"},
	}
}

// placeFlags say where in the cluster a job runs.
func placeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "accelerator", Aliases: []string{"a"}, Usage: "`NAME` of what runs it: cpu, l4, a100x4, gpu:h100:8, tpu-v5e-16, tpu:v5p:2x2x1, …; see ibuild accelerators", Value: "cpu", EnvVars: []string{"IBUILD_ACCELERATOR"}},
		strictFlag(),
		&cli.IntFlag{Name: "slices", Usage: "`NUMBER` of TPU slices, which need JobSet in the cluster", Value: 1},
		&cli.BoolFlag{Name: "spot", Usage: "on spot machines, which may be taken away at any time"},
		&cli.StringFlag{Name: "reservation", Usage: "`NAME` of the reservation that the machines are in"},
		&cli.BoolFlag{Name: "flex-start", Usage: "on flex-start machines, which wait until there are some"},
		&cli.StringFlag{Name: "queue", Usage: "`NAME` of Kueue's queue"},
		&cli.StringFlag{Name: "priority", Usage: "`CLASS` of priority in that queue"},
		&cli.StringSliceFlag{Name: "node-selector", Usage: "`LABEL=VALUE` that the nodes have to have, too; several are allowed"},
	}
}

// podFlags say what the program finds.
func podFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "env", Aliases: []string{"e"}, Usage: "`NAME=VALUE` for the program, or NAME to pass one on; several are allowed. What looks like a credential travels as a Secret"},
		&cli.StringSliceFlag{Name: "env-capture", Usage: "`NAME` or PREFIX* of variables to pass on; several are allowed"},
		&cli.StringSliceFlag{Name: "mount-secret", Usage: "`SECRET[:FOLDER]` of the namespace: its keys become variables, or files in the folder; several are allowed"},
		&cli.StringSliceFlag{Name: "volume", Aliases: []string{"v"}, Usage: "`VOLUME` for the program: CLAIM[/PATH]:FOLDER[:ro] or gs://BUCKET[/PATH]:FOLDER[:ro]; several are allowed"},
		&cli.StringFlag{Name: "cpu", Usage: "`QUANTITY` of CPUs that each host asks for, such as 4"},
		&cli.StringFlag{Name: "memory", Usage: "`QUANTITY` of memory that each host asks for and may use, such as 16Gi"},
		&cli.StringFlag{Name: "shm", Usage: "`QUANTITY` that /dev/shm may hold; half of the node's memory by default"},
		&cli.IntFlag{Name: "retries", Usage: "`NUMBER` of times that the program starts again after a failure; preempted hosts start again without counting"},
		&cli.DurationFlag{Name: "timeout", Usage: "`TIME` that the program may take, such as 2h"},
		&cli.DurationFlag{Name: "grace", Usage: "`TIME` between SIGTERM and the end, for checkpoints and results; 30s by default; a spot machine may give less"},
		&cli.DurationFlag{Name: "keep", Usage: "`TIME` that the ended job stays in the cluster; until ibuild jobs cleanup by default"},
		&cli.StringFlag{Name: "service-account", Usage: "`NAME` of the service account of the pods"},
	}
}

// clusterFlags say which cluster is meant, for all commands about jobs.
func clusterFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "context", Usage: "`NAME` of the kubeconfig's context"},
		&cli.StringFlag{Name: "namespace", Aliases: []string{"n"}, Usage: "`NAME` of the namespace; the context's by default"},
		&cli.StringFlag{Name: "kubeconfig", Usage: "`FILE` with the cluster's address and credentials [$KUBECONFIG]"},
	}
}
