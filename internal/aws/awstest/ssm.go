package awstest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// SSM answers GetParameters.
type SSM struct {
	// Parameters are the values by name.
	Parameters map[string]string
	// Region is where they are: requests that are signed for another find
	// none.
	Region string
	// Denied answers that the caller may not ask.
	Denied bool
	// Names are those that were asked for.
	Names []string

	url string
}

// StartSSM runs the service until the test ends, and points the AWS environment
// of the test at it. The test must not be parallel.
func StartSSM(t testing.TB, region string, parameters map[string]string) *SSM {
	t.Helper()
	s := &SSM{Parameters: parameters, Region: region}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	Environment(t, "tester", "secret-of-the-test", "")
	t.Setenv("AWS_ENDPOINT_URL_SSM", s.url)
	return s
}

type parameter struct{ Name, Value, Type string }

func (s *SSM) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request struct{ Names []string }
	const most = 10
	switch err := json.NewDecoder(r.Body).Decode(&request); {
	case r.Header.Get("X-Amz-Target") != "AmazonSSM.GetParameters" || err != nil:
		fail(w, "UnknownOperationException", "only GetParameters is known here")
		return
	case len(request.Names) == 0 || len(request.Names) > most:
		fail(w, "ValidationException", "1 validation error detected: names: 1 to 10")
		return
	case s.Denied:
		fail(w, "AccessDeniedException", "User: arn:aws:iam::111122223333:user/tester is not authorized to perform: ssm:GetParameters")
		return
	}
	s.Names = append(s.Names, request.Names...)
	there := strings.Contains(r.Header.Get("Authorization"), "/"+s.Region+"/ssm/")
	found, missing := []parameter{}, []string{}
	for _, name := range request.Names {
		if value, known := s.Parameters[name]; known && there {
			found = append(found, parameter{name, value, "String"})
		} else {
			missing = append(missing, name)
		}
	}
	write(w, http.StatusOK, map[string]any{"Parameters": found, "InvalidParameters": missing})
}

func fail(w http.ResponseWriter, kind, message string) {
	write(w, http.StatusBadRequest, map[string]string{"__type": kind, "message": message})
}
