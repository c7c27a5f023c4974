package config

import (
	"fmt"
	"net/netip"
	"time"
)

// Webhooks bounds how events are delivered to the addresses that users give.
type Webhooks struct {
	AllowNetworks  []string        `json:"allowNetworks" doc:"Networks that are not public and that deliveries may go to all the same, such as 10.20.0.0/16; without TLS they go to these alone. Empty: none, in gco up those of loopback." uniqueItems:"true"`
	Limit          int             `json:"limit" doc:"Webhooks there may be." minimum:"1" maximum:"10000"`
	Timeout        time.Duration   `json:"timeout" doc:"How long one try may take." minimum:"1s" maximum:"1m"`
	Retries        []time.Duration `json:"retries" doc:"Waits between tries, each up to a fifth longer or shorter. After the last one a delivery is dead." maxItems:"50"`
	Concurrency    int             `json:"concurrency" doc:"Tries at a time, in each server." minimum:"1" maximum:"10000"`
	PerWebhook     int             `json:"perWebhook" doc:"Tries at a time to one webhook, in each server. A webhook that only fails gets one." minimum:"1"`
	PerHost        int             `json:"perHost" doc:"Tries at a time to one host and port, in each server." minimum:"1"`
	PauseAfter     time.Duration   `json:"pauseAfter" doc:"How long every try has to fail until the webhook is paused." minimum:"1m"`
	PauseBacklog   int64           `json:"pauseBacklog" doc:"Open deliveries at which a webhook is paused." minimum:"1"`
	KeepDeliveries time.Duration   `json:"keepDeliveries" doc:"How long a delivery is shown, and can be made again, after it was made or given up." minimum:"1m"`
}

// defaultWebhooks try for a day. Every entry of Retries counts from the end of
// the try before.
func defaultWebhooks() Webhooks {
	return Webhooks{
		Limit: 1000, Timeout: 15 * time.Second,
		Retries: []time.Duration{
			5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
			time.Hour, 2 * time.Hour, 4 * time.Hour, 6 * time.Hour, 10 * time.Hour,
		},
		Concurrency: 512, PerWebhook: 32, PerHost: 64,
		PauseAfter: 72 * time.Hour, PauseBacklog: 100_000, KeepDeliveries: 72 * time.Hour,
	}
}

// LoopbackNetworks are what gco up allows where nothing is named.
var LoopbackNetworks = []string{"127.0.0.0/8", "::1/128"}

// Networks returns AllowNetworks, which have been validated.
func (w Webhooks) Networks() []netip.Prefix {
	var all []netip.Prefix
	for _, text := range w.AllowNetworks {
		if network, err := netip.ParsePrefix(text); err == nil {
			all = append(all, network.Masked())
		}
	}
	return all
}

func (w Webhooks) validate(path string) []Fault {
	var faults []Fault
	for i, text := range w.AllowNetworks {
		if _, err := netip.ParsePrefix(text); err != nil {
			faults = append(faults, faultf(fmt.Sprintf("%s.allowNetworks[%d]", path, i), "a network such as 10.20.0.0/16 expected, found %q", text))
		}
	}
	for i, wait := range w.Retries {
		if wait < time.Millisecond || wait > 48*time.Hour {
			faults = append(faults, faultf(fmt.Sprintf("%s.retries[%d]", path, i), "must be from 1ms to 48h, is %s", wait))
		}
	}
	return faults
}
