package cli

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
)

// submitted returns what the flags of a call make of the submission.
func submitted(t *testing.T, args string) (*submitOptions, string) {
	t.Helper()
	p, _, _ := testProgram(t)
	var got *submitOptions
	var text []byte
	cmd := newSubmit(p, func(_ context.Context, opts *submitOptions) error {
		got = opts
		s, err := opts.options()
		if err != nil {
			return err
		}
		text, err = json.Marshal(s)
		return err
	})
	cmd.SetArgs(strings.Fields(args))
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("submit %s: %v", args, err)
	}
	return got, string(text)
}

func TestSubmitFlags(t *testing.T) {
	for _, test := range []struct{ args, want string }{
		{"a.yaml", `{}`},
		{"a.yaml --priority 0 --retries 0", `{"priority":0,"retries":0}`},
		{"a.yaml -n research -l a=b,c=d", `{"namespace":"research","labels":{"a":"b","c":"d"}}`},
		{
			"a.yaml --region r1 --region r2 --avoid-region r3 --capacity-type spot --max-price 1.5",
			`{"placement":{"regions":["r1","r2"],"avoidRegions":["r3"],"capacityType":"spot","maxPricePerHour":1.5}}`,
		},
		{
			"a.yaml --deadline 90m --ttl 0s --on-region-lost wait --on-region-lost-limit 2h",
			`{"deadline":"1h30m0s","ttlAfterFinished":"0s","onRegionLost":"wait","onRegionLostLimit":"2h0m0s"}`,
		},
	} {
		if _, got := submitted(t, test.args); got != test.want {
			t.Errorf("submit %s = %s, want %s", test.args, got, test.want)
		}
	}
}

func TestSubmitKeys(t *testing.T) {
	opts, _ := submitted(t, "a.yaml")
	if first, second := keyOf(opts.key, 0, 1), keyOf(opts.key, 0, 1); first == "" || first == second {
		t.Errorf("keys of two calls are %q and %q, want two different ones", first, second)
	}
	opts, _ = submitted(t, "a.yaml --idempotency-key mine")
	if got := keyOf(opts.key, 0, 1); got != "mine" {
		t.Errorf("key = %q, want mine", got)
	}
	if first, second := keyOf(opts.key, 0, 2), keyOf(opts.key, 1, 2); first != "mine-1" || second != "mine-2" {
		t.Errorf("keys of two documents are %q and %q", first, second)
	}
}
