package config_test

import (
	"strings"
	"testing"

	"github.com/gco-project/gco/internal/config"
)

func TestGateway(t *testing.T) {
	for text, want := range map[string]string{
		"gateway: {listen: '127.0.0.1:0'}": "",
		"gateway: {listen: '0.0.0.0:8080', allowPlaintext: true, address: 'gw.example.com:1'}": "",
		"gateway: {listen: '0.0.0.0:8443', tls: {cert: a.pem, key: b.pem}}":                    "",
		"gateway: {listen: '0.0.0.0:8080'}":                                                    "gateway.listen: 0.0.0.0:8080 is not loopback",
		"gateway: {listen: nowhere}":                                                           "gateway.listen: an address such as",
		"gateway: {tls: {cert: a.pem}}":                                                        "gateway.tls: cert and key",
		"gateway: {address: gw.example.com}":                                                   "gateway.address: a host and port",
		"gateway: {metrics: here}":                                                             "gateway.metrics: an address",
		"gateway: {maxWaiting: 0}":                                                             "gateway.maxWaiting",
		"gateway: {patience: 1ms}":                                                             "gateway.patience",
	} {
		_, err := config.Parse("gco.yaml", []byte(text))
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
