package client_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/gco-project/gco/client"
)

// The address of a webhook takes what GCO signed, and nothing else.
func ExampleReceiver_Event() {
	receiver, err := client.NewReceiver("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		fmt.Println(err)
		return
	}
	address := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		event, err := receiver.Event(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		fmt.Println(event.ID, event.Type)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer address.Close()
	forged, err := http.NewRequestWithContext(context.Background(), http.MethodPost, address.URL, strings.NewReader("{}"))
	if err != nil {
		fmt.Println(err)
		return
	}
	response, err := http.DefaultClient.Do(forged)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	fmt.Println(response.Status)
	// Output: 401 Unauthorized
}
