// Package pki makes the keys and certificates of one cluster: they are its
// own, made at its first start and read again at every later one, so that a
// kubeconfig outlives the process. It knows nothing of Kubernetes beyond the
// names that it puts into certificates. The kubelab command calls it.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// validFor is longer than anybody keeps a cluster for tests.
const validFor = 10 * 365 * 24 * time.Hour

// MastersGroup is the group that Kubernetes lets do everything.
const MastersGroup = "system:masters"

// Pair is a certificate and its key, as files.
type Pair struct {
	Cert string
	Key  string
}

// Files are where everything is.
type Files struct {
	// CA is the certificate that vouches for all others.
	CA string
	// Server is that of the API server, and of the kubelets beside it.
	Server Pair
	// Admin may do everything; Kubelet is how the API server names itself to
	// a kubelet.
	Admin, Kubelet Pair
	// ServiceAccounts signs the tokens of service accounts; Cert is the public
	// half.
	ServiceAccounts Pair
}

// Open returns the files below a directory, and makes them where there are
// none yet. Certificates are valid from now on.
func Open(dir string, now time.Time) (Files, error) {
	at := func(name string) Pair {
		return Pair{Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key")}
	}
	files := Files{
		CA: filepath.Join(dir, "ca.crt"), Server: at("server"), Admin: at("admin"), Kubelet: at("kubelet-client"),
		ServiceAccounts: Pair{Cert: filepath.Join(dir, "service-accounts.pub"), Key: filepath.Join(dir, "service-accounts.key")},
	}
	// The CA's certificate is written last: where it is, all is.
	_, err := os.Stat(files.CA)
	if err == nil {
		return files, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return Files{}, fmt.Errorf("looking for the certificates: %w", err)
	}
	if err := files.make(dir, now); err != nil {
		return Files{}, fmt.Errorf("making the certificates: %w", err)
	}
	return files, nil
}

func (f Files) make(dir string, now time.Time) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca, err := newAuthority(now)
	if err != nil {
		return err
	}
	for _, wanted := range []struct {
		pair     Pair
		template x509.Certificate
	}{
		{f.Server, serverTemplate()},
		{f.Admin, clientTemplate("kubelab-admin", MastersGroup)},
		{f.Kubelet, clientTemplate("kube-apiserver-kubelet-client", MastersGroup)},
	} {
		if err := ca.issue(wanted.pair, wanted.template); err != nil {
			return err
		}
	}
	signing, err := newKey()
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(signing.Public())
	if err != nil {
		return err
	}
	return errors.Join(
		writeKey(f.ServiceAccounts.Key, signing),
		writePEM(f.ServiceAccounts.Cert, "PUBLIC KEY", public),
		writePEM(f.CA, "CERTIFICATE", ca.certificate.Raw),
	)
}

// serverTemplate names what a client on this host, or in the cluster, calls
// the API server.
func serverTemplate() x509.Certificate {
	return x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.IPv4(10, 96, 0, 1)},
	}
}

func clientTemplate(user, group string) x509.Certificate {
	return x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: []string{group}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

type authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
	now         time.Time
}

func newAuthority(now time.Time) (authority, error) {
	key, err := newKey()
	if err != nil {
		return authority{}, err
	}
	template := x509.Certificate{
		Subject: pkix.Name{CommonName: "kubelab"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	raw, err := authority{key: key, certificate: &template, now: now}.sign(&template, key.Public())
	if err != nil {
		return authority{}, err
	}
	certificate, err := x509.ParseCertificate(raw)
	return authority{key: key, certificate: certificate, now: now}, err
}

// issue writes a new key and the certificate for it.
func (a authority) issue(to Pair, template x509.Certificate) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	raw, err := a.sign(&template, key.Public())
	if err != nil {
		return err
	}
	return errors.Join(writeKey(to.Key, key), writePEM(to.Cert, "CERTIFICATE", raw))
}

func (a authority) sign(template *x509.Certificate, public crypto.PublicKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	// The clock of another host may be behind.
	template.NotBefore, template.NotAfter = a.now.Add(-time.Hour), a.now.Add(validFor)
	return x509.CreateCertificate(rand.Reader, template, a.certificate, public, a.key)
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func writeKey(path string, key *ecdsa.PrivateKey) error {
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "EC PRIVATE KEY", raw)
}

func writePEM(path, kind string, raw []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}), 0o600)
}
