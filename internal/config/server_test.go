package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/config"
)

// faultsOf returns the faults of a file's text, one string each.
func faultsOf(t *testing.T, text string) []string {
	t.Helper()
	_, err := config.Parse("gco.yaml", []byte(text))
	var invalid *config.Invalid
	if err == nil {
		return nil
	}
	if !errors.As(err, &invalid) {
		t.Fatalf("Parse: %v, want *config.Invalid", err)
	}
	var faults []string
	for _, fault := range invalid.Faults {
		faults = append(faults, fault.String())
	}
	return faults
}

func wantFault(t *testing.T, text, part string) {
	t.Helper()
	faults := faultsOf(t, text)
	if part == "" {
		if len(faults) > 0 {
			t.Errorf("%q: faults %q, want none", text, faults)
		}
		return
	}
	for _, fault := range faults {
		if strings.Contains(fault, part) {
			return
		}
	}
	t.Errorf("%q: faults %q, want one with %q", text, faults, part)
}

func TestServerFaults(t *testing.T) {
	for _, test := range []struct{ text, fault string }{
		{"server: {listen: '127.0.0.1:0'}", ""},
		{"server: {listen: 'localhost:80'}", ""},
		{"server: {listen: '[::1]:80'}", ""},
		{"server: {listen: '0.0.0.0:80'}", "server.listen: 0.0.0.0:80 is not loopback"},
		{"server: {listen: ':80'}", "is not loopback"},
		{"server: {listen: '0.0.0.0:80', allowPlaintext: true}", ""},
		{"server: {listen: '0.0.0.0:443', tls: {cert: a, key: b}}", ""},
		{"server: {listen: nowhere}", "an address such as"},
		{"server: {tls: {cert: a}}", "server.tls: cert and key are needed together"},
		{"server: {debug: '127.0.0.1:6060'}", ""},
		{"server: {debug: '0.0.0.0:6060'}", "server.debug: 0.0.0.0:6060 is not loopback"},
		{"server: {debug: x}", "server.debug: an address"},
		{"server: {log: {level: loud}}", "server.log.level: must be one of auto, debug, info, warn, error"},
	} {
		wantFault(t, test.text, test.fault)
	}
}
