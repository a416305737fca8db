package gke

import (
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// ProgramContainer is the name of the container that the job's program runs in.
// GKE may put others before it and behind it, for mounted buckets.
const ProgramContainer = "program"

// OutputVariable names OutputFolder to the program.
const OutputVariable = "IBUILD_OUTPUT_DIR"

// podSpec is one host. It has no security context: user's images come with sudo,
// package managers and debuggers of their own, which a rule against gaining rights
// would break, and neither GPUs nor TPUs need more rights than a pod has (TPUs did
// before GKE 1.28). Where a namespace wants more, its admission says so.
func podSpec(j Job) corev1.PodSpec {
	volumes, mounts := podVolumes(j)
	spec := corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever,
		ActiveDeadlineSeconds:         seconds(j.Timeout),
		TerminationGracePeriodSeconds: seconds(j.Grace),
		ServiceAccountName:            j.ServiceAccount,
		AutomountServiceAccountToken:  new(j.ServiceAccount != ""), // the namespace's default account is not for programs
		EnableServiceLinks:            new(false),                  // the environment is the job's, not the namespace's
		NodeSelector:                  nodeSelector(j),
		Tolerations:                   tolerations(j),
		Volumes:                       volumes,
		Containers: []corev1.Container{{
			Name:                     ProgramContainer,
			Image:                    j.Image,
			ImagePullPolicy:          corev1.PullIfNotPresent,
			Command:                  literals(j.Command),
			Args:                     literals(j.Args),
			WorkingDir:               j.Dir,
			Env:                      variables(j),
			EnvFrom:                  secretVariables(j),
			Resources:                resources(j),
			Ports:                    tpuPorts(j),
			VolumeMounts:             mounts,
			TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		}},
	}
	if hostsOf(j) > 1 && slicesOf(j) == 1 {
		spec.Subdomain = j.Name // JobSet sets its own
	}
	if j.PullConfig != nil {
		spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: pullSecret(j)}}
	}
	return spec
}

// literals are texts in which Kubernetes expands nothing.
func literals(list []string) []string {
	var out []string
	for _, text := range list {
		out = append(out, literal(text))
	}
	return out
}

// literal makes a text that Kubernetes reads as this one: it takes $(NAME) for a
// variable and $$ for $. What has neither stays as it is, for people to read.
func literal(text string) string {
	if strings.Contains(text, "$(") || strings.Contains(text, "$$") {
		return strings.ReplaceAll(text, "$", "$$")
	}
	return text
}

// variables are the container's, the job's own last. TPU_WORKER_ID and
// TPU_WORKER_HOSTNAMES are GKE's: it leaves them alone where they are set already.
func variables(j Job) []corev1.EnvVar {
	var list []corev1.EnvVar
	for _, v := range j.Env {
		list = append(list, corev1.EnvVar{Name: v.Name, Value: literal(v.Value)})
	}
	for _, v := range j.SecretEnv {
		list = append(list, corev1.EnvVar{Name: v.Name, ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
			LocalObjectReference: corev1.LocalObjectReference{Name: envSecret(j)}, Key: v.Name}}})
	}
	list = append(list, sliceVariables(j)...)
	own := func(v corev1.EnvVar) bool { return v.Name == OutputVariable }
	if !slices.ContainsFunc(list, own) {
		list = append(list, corev1.EnvVar{Name: OutputVariable, Value: OutputFolder})
	}
	return list
}

// secretVariables are those of Secrets without a path.
func secretVariables(j Job) []corev1.EnvFromSource {
	var list []corev1.EnvFromSource
	for _, s := range j.Secrets {
		if s.Path == "" {
			list = append(list, corev1.EnvFromSource{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: s.Secret}}})
		}
	}
	return list
}

// resources asks for the devices, of which a request is a limit too. Memory is
// limited to what is asked for, so that a program that needs more ends alone and
// not with its neighbours. A processor that stands idle anyway may be used.
func resources(j Job) corev1.ResourceRequirements {
	requests, limits := corev1.ResourceList{}, corev1.ResourceList{}
	if q, err := resource.ParseQuantity(j.CPU); err == nil {
		requests[corev1.ResourceCPU] = q
	}
	if q, err := resource.ParseQuantity(j.Memory); err == nil {
		requests[corev1.ResourceMemory], limits[corev1.ResourceMemory] = q, q
	}
	if name := corev1.ResourceName(j.Accelerator.Resource()); name != "" {
		q := *resource.NewQuantity(int64(j.Accelerator.PerHost), resource.DecimalSI)
		requests[name], limits[name] = q, q
	}
	return corev1.ResourceRequirements{Requests: requests, Limits: limits}
}

// tpuPorts are those of the TPU runtime: between the hosts of a slice, its metrics,
// which GKE reads, and between slices.
func tpuPorts(j Job) []corev1.ContainerPort {
	if j.Accelerator.Kind != TPU {
		return nil
	}
	ports := []corev1.ContainerPort{{ContainerPort: 8471}, {ContainerPort: 8431}}
	if slicesOf(j) > 1 {
		ports = append(ports, corev1.ContainerPort{ContainerPort: 8080})
	}
	for i := range ports {
		ports[i].Protocol = corev1.ProtocolTCP
	}
	return ports
}

// Labels of GKE's nodes.
const (
	gpuLabel                = "cloud.google.com/gke-accelerator"
	tpuLabel                = "cloud.google.com/gke-tpu-accelerator"
	topologyLabel           = "cloud.google.com/gke-tpu-topology"
	spotLabel               = "cloud.google.com/gke-spot"
	flexStartLabel          = "cloud.google.com/gke-flex-start"
	queuedLabel             = "cloud.google.com/gke-queued"
	reservationLabel        = "cloud.google.com/reservation-name"
	reservationProjectLabel = "cloud.google.com/reservation-project"
	reservationUseLabel     = "cloud.google.com/reservation-affinity"
)

// nodeSelector names the nodes that the job may run on. Job.Selector was found to
// contradict none of the rest.
func nodeSelector(j Job) map[string]string {
	nodes := j.Accelerator.NodeLabels()
	if onSpot(j) {
		nodes[spotLabel] = "true"
	}
	if j.FlexStart {
		nodes[flexStartLabel] = "true"
	}
	if project, name, _ := readReservation(j.Reservation); name != "" {
		nodes[reservationLabel] = name
		if project != "" {
			nodes[reservationProjectLabel], nodes[reservationUseLabel] = project, "specific"
		}
	}
	for label, value := range j.Selector {
		nodes[label] = value
	}
	return nodes
}

func onSpot(j Job) bool { return j.Spot || j.Accelerator.Spot }

// readReservation takes a reservation's name and its full one,
// projects/PROJECT/reservations/NAME. Node pools that people made for a
// reservation have its name as a label. Where GKE is to make the nodes (Autopilot,
// node auto-provisioning) it wants the project and the way of use as well.
func readReservation(text string) (project, name string, ok bool) {
	parts := strings.Split(text, "/")
	switch {
	case len(parts) == 1:
		return "", text, true
	case len(parts) == 4 && parts[0] == "projects" && parts[1] != "" && parts[2] == "reservations" && parts[3] != "":
		return parts[1], parts[3], true
	}
	return "", "", false
}

// tolerations are for the taints that GKE puts on the nodes that are asked for.
// Their values differ between pools, so that only the key counts.
func tolerations(j Job) []corev1.Toleration {
	var keys []string
	if name := j.Accelerator.Resource(); name != "" {
		keys = append(keys, name)
	}
	if onSpot(j) {
		keys = append(keys, spotLabel)
	}
	if j.FlexStart {
		keys = append(keys, flexStartLabel)
	}
	if j.FlexStart || j.Queue != "" {
		keys = append(keys, queuedLabel)
	}
	if j.Accelerator.Arch == "arm64" {
		keys = append(keys, corev1.LabelArchStable)
	}
	var list []corev1.Toleration
	for _, key := range keys {
		list = append(list, corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists})
	}
	return list
}

// numbered is the name of the n-th volume of a sort.
func numbered(name string, n int) string { return name + "-" + strconv.Itoa(n) }
