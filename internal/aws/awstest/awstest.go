// Package awstest answers for services of AWS that nothing installs for tests:
// STS, which checks signatures as AWS does, and SSM's parameters. Tests point
// the real SDK at them.
package awstest

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"
)

// Environment gives the test credentials of AWS, and keeps the SDK from those
// of the machine. The test must not be parallel.
func Environment(t testing.TB, accessKey, secret, region string) {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": accessKey, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_REGION": region, "AWS_DEFAULT_REGION": "", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
}

func write(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(document)
}
