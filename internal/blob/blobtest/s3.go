// Package blobtest runs an S3 service for tests: versitygw, a real server over
// a temporary directory, on loopback. Tests of what stores objects use it;
// make test builds it, and a test that does not find it fails.
package blobtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// version is the one that the Makefile builds.
const version = "v1.8.0"

// The Region of the service and its credentials; it is gone when the test is.
const (
	region = "us-east-2"
	access = "tester"
	secret = "secret-of-the-test"
)

// S3 is a running service.
type S3 struct {
	// Endpoint is its base URL.
	Endpoint string
	// Dir holds its buckets, one folder each.
	Dir string
}

// Start runs the service until the test ends, over TLS if that is asked for,
// and points the AWS environment of the test at it. The test must not be
// parallel.
func Start(t testing.TB, overTLS bool) S3 {
	t.Helper()
	s := S3{Dir: t.TempDir()}
	address := freeAddress(t)
	args := []string{"--access", access, "--secret", secret, "--region", region, "--port", address, "--quiet"}
	s.Endpoint = "http://" + address
	if overTLS {
		cert, key := certificate(t)
		args = append(args, "--cert", cert, "--key", key)
		s.Endpoint = "https://" + address
		t.Setenv("AWS_CA_BUNDLE", cert)
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "",
		"AWS_REGION": region, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	run(t, append(args, "posix", s.Dir), address)
	return s
}

// Bucket makes a bucket and returns its URL.
func (s S3) Bucket(t testing.TB, name string) string {
	t.Helper()
	if err := os.Mkdir(filepath.Join(s.Dir, name), 0o700); err != nil {
		t.Fatal(err)
	}
	return "s3://" + name + "?region=" + region + "&pathStyle=true&endpoint=" + s.Endpoint
}

// run starts the process, waits until it listens, and ends it with the test.
func run(t testing.TB, args []string, address string) {
	t.Helper()
	var said bytes.Buffer
	command := exec.CommandContext(t.Context(), program(t), args...)
	command.Stdout, command.Stderr = &said, &said
	if err := command.Start(); err != nil {
		t.Fatalf("starting the S3 service: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = command.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-ended
	})
	const pause, most = 5 * time.Millisecond, 20 * time.Second
	for deadline := time.After(most); ; {
		connection, err := (&net.Dialer{Timeout: time.Second}).DialContext(t.Context(), "tcp", address)
		if err == nil {
			_ = connection.Close()
			return
		}
		select {
		case <-ended:
			t.Fatalf("the S3 service ended: %s", said.String())
		case <-deadline:
			t.Fatalf("the S3 service does not listen after %s: %v", most, err)
		case <-time.After(pause):
		}
	}
}

func program(t testing.TB) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, "gco", "tools", runtime.Version(), "versitygw-"+version, "versitygw")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the S3 service for tests is missing: run make test-tools (%v)", err)
	}
	return path
}

// freeAddress is one that nobody listens on. The service wants to be told.
func freeAddress(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// certificate writes one for loopback that signs itself, and its key.
func certificate(t testing.TB) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	public, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: public}, key: {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
