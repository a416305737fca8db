package gke

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// storage checks Secrets and volumes, and that no folder is mounted twice.
func (c *checker) storage(j Job) {
	used := map[string]string{shmFolder: "shared memory"}
	if j.ResultConfig != nil {
		used[ResultConfigFolder] = "the result credential"
	}
	if j.ServiceAccount != "" {
		c.addAll("service account", validation.IsDNS1123Subdomain(j.ServiceAccount))
	}
	for _, s := range j.Secrets {
		field := fmt.Sprintf("secret %q", s.Secret)
		c.addAll(field, validation.IsDNS1123Subdomain(s.Secret))
		if s.Path != "" {
			c.folder(field, s.Path, used)
		}
	}
	for _, v := range j.Volumes {
		field := fmt.Sprintf("volume %q", v.Path)
		c.folder(field, v.Path, used)
		switch {
		case (v.Claim == "") == (v.Bucket == ""):
			c.add(field, "needs a claim or a bucket, and not both")
		case v.Claim != "":
			c.addAll(field, validation.IsDNS1123Subdomain(v.Claim))
		case !isBucket(v.Bucket):
			c.add(field, "%q is no name of a bucket", v.Bucket)
		}
		c.sub(field, v)
	}
}

// folder checks a place in the pod.
func (c *checker) folder(field, folder string, used map[string]string) {
	c.unicode(field, folder)
	switch {
	case !path.IsAbs(folder) || path.Clean(folder) != folder:
		c.add(field, "%q is not a plain absolute folder such as /data", folder)
	case strings.Contains(folder, ":"):
		c.add(field, "%q holds a colon, which Kubernetes does not take there", folder)
	case used[folder] != "":
		c.add(field, "%s has %s already", folder, used[folder])
	case slices.Contains([]string{"/", "/dev", "/proc", "/sys"}, folder), strings.HasPrefix(folder, "/proc/"), strings.HasPrefix(folder, "/sys/"):
		c.add(field, "%s is the system's", folder)
	case folder == path.Dir(OutputFolder), strings.HasPrefix(folder, path.Dir(OutputFolder)+"/") && folder != OutputFolder:
		c.add(field, "%s is ibuild's; take %s for results", folder, OutputFolder)
	}
	used[folder] = field
}

// sub checks the folder within a claim or a bucket.
func (c *checker) sub(field string, v Volume) {
	c.unicode(field, v.Sub)
	if v.Sub == "" {
		return
	}
	if path.IsAbs(v.Sub) || path.Clean(v.Sub) != v.Sub || v.Sub == "." || v.Sub == ".." || strings.HasPrefix(v.Sub, "../") {
		c.add(field, "%q is not a plain folder within it such as runs/1", v.Sub)
	}
	if v.Bucket != "" && strings.ContainsAny(v.Sub, ",:\"'\\ \t\r\n") {
		c.add(field, "%q holds a character that would end the option only-dir of Cloud Storage FUSE", v.Sub)
	}
}

// isBucket is the rule of Cloud Storage.
func isBucket(name string) bool {
	const ends = "abcdefghijklmnopqrstuvwxyz0123456789"
	return len(name) >= 3 && len(name) <= 222 && strings.Trim(name, ends+"._-") == "" &&
		strings.Contains(ends, name[:1]) && strings.Contains(ends, name[len(name)-1:])
}
