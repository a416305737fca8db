package gke

import "time"

// Job is all that the manifests of one run are made from. Equal jobs have equal
// manifests: no clock, no random name and no request goes into them.
type Job struct {
	Name      string // unique in the namespace; see NewName
	Namespace string
	Image     string   // by digest: NAME@sha256:…
	Command   []string // in place of the image's entry point; nil keeps it
	Args      []string // to the command or to the image's entry point
	Dir       string   // working directory; empty is the image's

	Accelerator Accelerator
	Slices      int               // TPU slices of a multislice job; 0 and 1 are one
	CPU         string            // a quantity such as "4"; empty leaves it to the namespace
	Memory      string            // a quantity such as "16Gi"; empty leaves it to the namespace
	Shm         string            // size limit of /dev/shm, a quantity; empty is what the memory limit or the node allows
	Retries     int               // how often each host may fail before the job does; with any, lost nodes do not count
	Timeout     time.Duration     // of each pod since a node took it, pulling included, by its kubelet; its output stays. 0 is none
	Keep        time.Duration     // how long the finished job stays in the cluster; 0 is until it is cleaned up
	Grace       time.Duration     // between SIGTERM and SIGKILL; 0 is Kubernetes' 30 s
	Spot        bool              // on spot machines, too when the accelerator says so
	Reservation string            // NAME of node pools made for it, or projects/PROJECT/reservations/NAME where GKE makes nodes
	FlexStart   bool              // flex-start machines (Dynamic Workload Scheduler)
	Queue       string            // Kueue's local queue
	Priority    string            // Kueue's workload priority class, with a Queue
	Selector    map[string]string // more node labels

	Env            []Variable    // in this order; written into the pod
	SecretEnv      []Variable    // go into a Secret of the job and not into the pod
	Secrets        []SecretMount // Secrets that are there already
	Volumes        []Volume
	ServiceAccount string
	PullConfig     []byte // a Docker config.json with which nodes pull the image; nil for what the nodes can do themselves
	ResultConfig   []byte // a Docker config.json with which the bootstrap pushes results; nil for none. It is mounted at ResultConfigFolder

	Owner string            // who submitted it, for people: "user@host"
	Facts map[string]string // what ibuild knows of the job (source, mode, where results are): annotations below Domain
}

// Domain is before the names of ibuild's labels and annotations.
const Domain = "ibuild.dev/"

// Labels that everything submitted carries.
const (
	ManagedByLabel = "app.kubernetes.io/managed-by" // always ManagedBy
	ManagedBy      = "ibuild"
	JobLabel       = Domain + "job" // the job's name, on pods, services, secrets as well
)

// Folders of a pod that ibuild mounts.
const (
	OutputFolder       = "/ibuild/output"     // an empty folder, a claim or a bucket: what the program leaves there are its results
	ResultConfigFolder = "/ibuild/credential" // config.json of ResultConfig
)

// Variable is one environment variable. The value may be any text without NUL;
// nothing in it is expanded: a $(NAME) stays as it is.
type Variable struct{ Name, Value string }

// SecretMount is a Secret of the namespace. With a Path its keys are files
// below it, without one they are environment variables.
type SecretMount struct {
	Secret string
	Path   string
}

// Volume is storage at a folder of the pod. Either Claim or Bucket is set.
type Volume struct {
	Path     string // absolute folder in the pod
	Claim    string // a PersistentVolumeClaim of the namespace
	Bucket   string // a Cloud Storage bucket, mounted by GKE's Cloud Storage FUSE driver
	Sub      string // folder within the claim or bucket; empty is all of it
	ReadOnly bool
}
