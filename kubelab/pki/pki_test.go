package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gco-project/gco/kubelab/pki"
)

// parse reads the certificate of a pair, which must belong to its key.
func parse(t *testing.T, pair pki.Pair) *x509.Certificate {
	t.Helper()
	loaded, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(loaded.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func TestCertificatesAreVouchedForByTheCA(t *testing.T) {
	files, err := pki.Open(t.TempDir(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(files.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("the CA is no certificate")
	}
	for _, test := range []struct {
		name  string
		pair  pki.Pair
		host  string
		usage x509.ExtKeyUsage
		group string
	}{
		{"server", files.Server, "127.0.0.1", x509.ExtKeyUsageServerAuth, ""},
		{"server in the cluster", files.Server, "kubernetes.default.svc", x509.ExtKeyUsageServerAuth, ""},
		{"admin", files.Admin, "", x509.ExtKeyUsageClientAuth, pki.MastersGroup},
		{"kubelet's client", files.Kubelet, "", x509.ExtKeyUsageClientAuth, pki.MastersGroup},
	} {
		t.Run(test.name, func(t *testing.T) {
			certificate := parse(t, test.pair)
			if _, err := certificate.Verify(x509.VerifyOptions{
				DNSName: test.host, Roots: roots, KeyUsages: []x509.ExtKeyUsage{test.usage},
			}); err != nil {
				t.Error(err)
			}
			if groups := certificate.Subject.Organization; test.group != "" && (len(groups) != 1 || groups[0] != test.group) {
				t.Errorf("its groups are %q, not %s", groups, test.group)
			}
		})
	}
}

func TestKeysOutliveTheProcess(t *testing.T) {
	dir := t.TempDir()
	first, err := pki.Open(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	before := parse(t, first.Admin).SerialNumber
	if _, err := pki.Open(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	if after := parse(t, first.Admin).SerialNumber; after.Cmp(before) != 0 {
		t.Error("a second start made other certificates")
	}
}

// A process that ended while it made them left some, and not the CA's.
func TestCertificatesThatWereHalfMadeAreMadeAgain(t *testing.T) {
	dir := t.TempDir()
	files, err := pki.Open(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{files.CA, filepath.Join(dir, "admin.crt")} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pki.Open(dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	parse(t, files.Admin)
	if _, err := os.Stat(files.CA); err != nil {
		t.Error(err)
	}
}
