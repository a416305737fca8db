package gke

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Names of a job's Secrets.
func envSecret(j Job) string    { return j.Name + "-env" }
func pullSecret(j Job) string   { return j.Name + "-pull" }
func resultSecret(j Job) string { return j.Name + "-results" }

// resultConfigFile is the file in ResultConfigFolder.
const resultConfigFile = "config.json"

// jobSecrets are the Secrets that live and die with the job.
func jobSecrets(j Job) []*corev1.Secret {
	var list []*corev1.Secret
	add := func(name string, kind corev1.SecretType, data map[string][]byte) {
		list = append(list, &corev1.Secret{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: partMeta(j, name),
			Type:       kind,
			Data:       data,
		})
	}
	if len(j.SecretEnv) > 0 {
		data := map[string][]byte{}
		for _, v := range j.SecretEnv {
			data[v.Name] = []byte(v.Value)
		}
		add(envSecret(j), corev1.SecretTypeOpaque, data)
	}
	if j.PullConfig != nil {
		add(pullSecret(j), corev1.SecretTypeDockerConfigJson, map[string][]byte{corev1.DockerConfigJsonKey: j.PullConfig})
	}
	if j.ResultConfig != nil {
		add(resultSecret(j), corev1.SecretTypeOpaque, map[string][]byte{resultConfigFile: j.ResultConfig})
	}
	return list
}
