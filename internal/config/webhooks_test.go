package config_test

import (
	"errors"
	"testing"

	"github.com/gco-project/gco/internal/config"
)

func TestWebhooks(t *testing.T) {
	c, err := config.Parse("gco.yaml", []byte("webhooks:\n  allowNetworks: [10.1.2.3/16, \"::1/128\"]\n  retries: [1s, 2s]\n"))
	if err != nil {
		t.Fatal(err)
	}
	networks := c.Webhooks.Networks()
	if len(networks) != 2 || networks[0].String() != "10.1.0.0/16" || networks[1].String() != "::1/128" || len(c.Webhooks.Retries) != 2 {
		t.Errorf("read %v and %v", networks, c.Webhooks.Retries)
	}
	_, err = config.Parse("gco.yaml", []byte("webhooks:\n  allowNetworks: [10.1.2.3]\n  retries: [0s, 49h]\n  limit: 0\n  perHost: 0\n"))
	invalid, ok := errors.AsType[*config.Invalid](err)
	if !ok || len(invalid.Faults) != 5 {
		t.Errorf("%v instead of 5 faults", err)
	}
}
