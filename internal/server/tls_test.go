package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clocktest "k8s.io/utils/clock/testing"

	"github.com/gco-project/gco/client"
)

// writePair writes a fresh self-signed certificate and its key.
func writePair(t *testing.T, certFile, keyFile, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyText, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, certFile, "CERTIFICATE", cert)
	writePEM(t, keyFile, "PRIVATE KEY", keyText)
}

// writePEM replaces a file by renaming another over it.
func writePEM(t *testing.T, path, kind string, content []byte) {
	t.Helper()
	temporary := path + ".new"
	if err := os.WriteFile(temporary, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, path); err != nil {
		t.Fatal(err)
	}
}

func TestCertificatesAreReadAgain(t *testing.T) {
	s := start(t, func(o *setUp) { o.noLoops = true })
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	writePair(t, certFile, keyFile, "first")
	log := &logBuffer{}
	certificates, err := LoadCertificates(certFile, keyFile, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	clock := clocktest.NewFakeClock(time.Now())
	certificates.clock = clock
	addr := s.serveTLS(certificates)
	shown := func() string {
		t.Helper()
		clock.Step(recheck)
		dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
		conn, err := dialer.DialContext(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := shown(); got != "first" {
		t.Fatalf("shown %s", got)
	}
	c, err := client.New("https://"+addr, s.token, client.WithCA(certFile), client.WithAttempts(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Regions(t.Context()); err != nil {
		t.Errorf("a client that trusts the certificate: %v", err)
	}
	strict, err := client.New("https://"+addr, s.token, client.WithAttempts(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := strict.Regions(t.Context()); err == nil {
		t.Error("a client that does not trust it went on")
	}

	writePair(t, certFile, keyFile, "second")
	if got := shown(); got != "second" {
		t.Errorf("after the change: %s", got)
	}
	// A pair that does not match, then nothing usable: the old one stays.
	writePair(t, certFile, filepath.Join(dir, "other.key"), "third")
	if got := shown(); got != "second" {
		t.Errorf("with another's key: %s", got)
	}
	if n := strings.Count(log.String(), "cannot be used"); n != 1 {
		t.Errorf("logged %d times: %s", n, log)
	}
	shown()
	if n := strings.Count(log.String(), "cannot be used"); n != 1 {
		t.Errorf("logged %d times for one change", n)
	}
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	if got := shown(); got != "second" {
		t.Errorf("without a key: %s", got)
	}
	if err := os.Rename(filepath.Join(dir, "other.key"), keyFile); err != nil {
		t.Fatal(err)
	}
	if got := shown(); got != "third" {
		t.Errorf("once the key is there: %s", got)
	}
	if _, err := LoadCertificates(certFile, filepath.Join(dir, "none"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a missing key was no error at the start")
	}
	if _, err := LoadCertificates(filepath.Join(dir, "none"), filepath.Join(dir, "none"), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a missing pair was no error at the start")
	}
}

// serveTLS serves the same API a second time.
func (s *system) serveTLS(certificates *Certificates) string {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.server.Run(ctx, listener, certificates) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Errorf("serving TLS: %v", err)
		}
	})
	return listener.Addr().String()
}
