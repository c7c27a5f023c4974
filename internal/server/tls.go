package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// recheck is how long a pair of files is taken to be unchanged.
const recheck = time.Second

// Certificates is a certificate and its key in two files. They are read again
// when they change, without a restart: at the first handshake afterwards. A
// pair that cannot be used leaves the old one in place and is logged once.
type Certificates struct {
	certFile, keyFile string
	log               *slog.Logger
	clock             clock.PassiveClock

	mu        sync.Mutex
	current   *tls.Certificate
	seen      pairText
	checkedAt time.Time
}

// pairText is what the files held. Their times would not do: two changes
// within one tick of the file system's clock look like one.
type pairText struct{ cert, key string }

// LoadCertificates reads the pair of files, in PEM.
func LoadCertificates(certFile, keyFile string, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{certFile: certFile, keyFile: keyFile, log: log, clock: clock.RealClock{}}
	if err := c.refresh(); err != nil {
		return nil, fmt.Errorf("reading the TLS certificate: %w", err)
	}
	return c, nil
}

// Config is for a server that shows the newest certificate.
func (c *Certificates) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.certificate(), nil
		},
	}
}

func (c *Certificates) certificate() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clock.Since(c.checkedAt) < recheck {
		return c.current
	}
	if err := c.refresh(); err != nil {
		c.log.Error("the new TLS certificate cannot be used; the old one stays", "cert", c.certFile, "key", c.keyFile, "error", err)
	}
	return c.current
}

// refresh takes the pair if it has changed. The error is about a change, and
// so comes once for each: a pair is replaced in two steps, and does not match
// between them.
func (c *Certificates) refresh() error {
	c.checkedAt = c.clock.Now()
	text, err := c.read()
	first := c.current == nil
	if text == c.seen && !first {
		return nil
	}
	c.seen = text
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair([]byte(text.cert), []byte(text.key))
	if err != nil {
		return err
	}
	c.current = &pair
	if !first {
		c.log.Info("TLS certificate read again", "cert", c.certFile)
	}
	return nil
}

// read returns what can be read, and why not all of it can.
func (c *Certificates) read() (pairText, error) {
	cert, certErr := os.ReadFile(c.certFile)
	key, keyErr := os.ReadFile(c.keyFile)
	return pairText{string(cert), string(key)}, errors.Join(certErr, keyErr)
}
