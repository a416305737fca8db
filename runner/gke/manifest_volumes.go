package gke

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// bucketDriver is GKE's Cloud Storage FUSE. Pods that use it carry the annotation,
// by which GKE adds the container that does the work.
const (
	bucketDriver     = "gcsfuse.csi.storage.gke.io"
	bucketAnnotation = "gke-gcsfuse/volumes"
)

// shmFolder is POSIX shared memory, which data loaders pass batches through. The
// 64 MB that a container has of its own are too few for them.
const shmFolder = "/dev/shm"

func podAnnotations(j Job) map[string]string {
	if slices.ContainsFunc(j.Volumes, func(v Volume) bool { return v.Bucket != "" }) {
		return map[string]string{bucketAnnotation: "true"}
	}
	return nil
}

// podVolumes are the pod's volumes and where its container has them.
func podVolumes(j Job) ([]corev1.Volume, []corev1.VolumeMount) {
	var p mounted
	shm := &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}
	if q, err := resource.ParseQuantity(j.Shm); err == nil {
		shm.SizeLimit = &q
	}
	p.add("shm", corev1.VolumeSource{EmptyDir: shm}, corev1.VolumeMount{MountPath: shmFolder})
	if !slices.ContainsFunc(j.Volumes, func(v Volume) bool { return v.Path == OutputFolder }) {
		p.add("output", corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}, corev1.VolumeMount{MountPath: OutputFolder})
	}
	if j.ResultConfig != nil {
		p.addSecret("credential", resultSecret(j), ResultConfigFolder)
	}
	for i, s := range j.Secrets {
		if s.Path != "" {
			p.addSecret(numbered("secret", i), s.Secret, s.Path)
		}
	}
	for i, v := range j.Volumes {
		if v.Bucket != "" {
			p.add(numbered("volume", i), bucketSource(v), corev1.VolumeMount{MountPath: v.Path, ReadOnly: v.ReadOnly})
			continue
		}
		// a claim is one volume however often it is mounted: kubelets wait for ever for a
		// second one of the same disk
		first := slices.IndexFunc(j.Volumes, func(w Volume) bool { return w.Claim == v.Claim })
		p.add(numbered("volume", first), claimSource(j, v.Claim), corev1.VolumeMount{MountPath: v.Path, SubPath: v.Sub, ReadOnly: v.ReadOnly})
	}
	return p.volumes, p.mounts
}

// mounted gathers volumes.
type mounted struct {
	volumes []corev1.Volume
	mounts  []corev1.VolumeMount
}

func (p *mounted) add(name string, source corev1.VolumeSource, mount corev1.VolumeMount) {
	if !slices.ContainsFunc(p.volumes, func(v corev1.Volume) bool { return v.Name == name }) {
		p.volumes = append(p.volumes, corev1.Volume{Name: name, VolumeSource: source})
	}
	mount.Name = name
	p.mounts = append(p.mounts, mount)
}

func (p *mounted) addSecret(name, secret, folder string) {
	p.add(name, corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}, corev1.VolumeMount{MountPath: folder, ReadOnly: true})
}

// bucketSource shows folders that have no object of their own: most buckets were
// filled by tools that make none.
func bucketSource(v Volume) corev1.VolumeSource {
	options := "implicit-dirs"
	if v.Sub != "" {
		options += ",only-dir=" + v.Sub
	}
	source := &corev1.CSIVolumeSource{Driver: bucketDriver, VolumeAttributes: map[string]string{"bucketName": v.Bucket, "mountOptions": options}}
	if v.ReadOnly {
		source.ReadOnly = new(true)
	}
	return corev1.VolumeSource{CSI: source}
}

// claimSource is read-only when all uses are: a disk that several nodes have at
// once can be attached in no other way.
func claimSource(j Job, claim string) corev1.VolumeSource {
	written := slices.ContainsFunc(j.Volumes, func(v Volume) bool { return v.Claim == claim && !v.ReadOnly })
	return corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim, ReadOnly: !written}}
}
