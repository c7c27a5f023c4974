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
	seen      [2]fileMark
	checkedAt time.Time
}

// fileMark changes whenever a file is replaced or written.
type fileMark struct {
	changed time.Time
	size    int64
}

// LoadCertificates reads the pair of files, in PEM.
func LoadCertificates(certFile, keyFile string, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{certFile: certFile, keyFile: keyFile, log: log, clock: clock.RealClock{}}
	marks, err := c.marks()
	if err != nil {
		return nil, fmt.Errorf("reading the TLS certificate: %w", err)
	}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("reading the TLS certificate: %w", err)
	}
	c.seen, c.checkedAt = marks, c.clock.Now()
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
	now := c.clock.Now()
	if now.Sub(c.checkedAt) < recheck {
		return c.current
	}
	c.checkedAt = now
	marks, err := c.marks()
	if err == nil && marks == c.seen {
		return c.current
	}
	// A pair is replaced in two steps; between them it does not match, and
	// the change of the second file brings us here again.
	c.seen = marks
	if err = errors.Join(err, c.load()); err != nil {
		c.log.Error("the new TLS certificate cannot be used; the old one stays", "cert", c.certFile, "key", c.keyFile, "error", err)
	} else {
		c.log.Info("TLS certificate read again", "cert", c.certFile)
	}
	return c.current
}

func (c *Certificates) marks() (marks [2]fileMark, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return marks, err
		}
		marks[i] = fileMark{info.ModTime(), info.Size()}
	}
	return marks, nil
}

func (c *Certificates) load() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current = &pair
	return nil
}
