package cluster

import clientcmd "k8s.io/client-go/tools/clientcmd/api"

// name is that of cluster, user and context in a kubeconfig.
const name = "kubelab"

func kubeconfigOf(server string, ca, cert, key []byte) clientcmd.Config {
	config := *clientcmd.NewConfig()
	config.Clusters[name] = &clientcmd.Cluster{Server: server, CertificateAuthorityData: ca}
	config.AuthInfos[name] = &clientcmd.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	config.Contexts[name] = &clientcmd.Context{Cluster: name, AuthInfo: name, Namespace: "default"}
	config.CurrentContext = name
	return config
}
