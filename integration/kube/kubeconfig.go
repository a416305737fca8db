package kube

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/ibuild/ibuild/integration/authority"
)

// mastersGroup may do everything, whatever roles there are.
const mastersGroup = "system:masters"

// Kubeconfig writes a kubeconfig file with a client certificate of a person
// and returns its path. The file needs no other and belongs to root alone.
// Nobody may do anything without a role but the members of system:masters. A
// second call for the same name replaces the file.
func (c *Cluster) Kubeconfig(user string, groups ...string) (string, error) {
	return c.kubeconfig(user, c.Server, user, groups...)
}

func (c *Cluster) kubeconfig(name, server, user string, groups ...string) (string, error) {
	pair, err := c.ca.Issue(authority.Subject{Name: user, Groups: groups}, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return "", err
	}
	const context = "ibuild-test"
	var trusted, cert, key []byte // in the file, which can then be given to another user
	for from, to := range map[string]*[]byte{c.ca.File: &trusted, pair.Cert: &cert, pair.Key: &key} {
		if *to, err = os.ReadFile(from); err != nil {
			return "", err
		}
	}
	config := clientcmdapi.NewConfig()
	config.Clusters[context] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: trusted}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	config.Contexts[context] = &clientcmdapi.Context{Cluster: context, AuthInfo: user, Namespace: "default"}
	config.CurrentContext = context
	file := filepath.Join(c.Dir, "kubeconfigs", url.PathEscape(name))
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return "", fmt.Errorf("write the kubeconfig of %s: %w", user, err)
	}
	return file, nil
}
