// Package discovery finds what a project has in an AWS account by the SSM
// parameters that infra/ writes there, so that gco server needs to be told the
// project and its Region, and nothing else. The daemon calls it for what the
// configuration leaves open.
package discovery

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
)

// parametersJSON has the name of each parameter, after /{project}/, by the key
// of gco.yaml that it is the value of. A test of infra/ holds the stacks
// against it.
//
//go:embed parameters.json
var parametersJSON []byte

var parameterOf = func() map[string]string {
	var names map[string]string
	if err := json.Unmarshal(parametersJSON, &names); err != nil {
		panic("discovery: parameters.json: " + err.Error())
	}
	return names
}()

// Keys lists the keys of gco.yaml that can be found.
func Keys() []string { return slices.Sorted(maps.Keys(parameterOf)) }

// Found is the value of one key.
type Found struct {
	Value string
	// Parameter is the name of the SSM parameter.
	Parameter string
}

const (
	// pageSize is what SSM takes in one request.
	pageSize = 10
	// patience bounds the whole search.
	patience = 20 * time.Second
)

// Find reads the parameters of some keys. The error names every parameter that
// is missing, and says what to do.
func Find(ctx context.Context, project, region string, keys []string) (map[string]Found, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conf, err := config.LoadDefaultConfig(ctx, config.WithRegion(region), config.WithLogger(logging.Nop{}))
	if err != nil {
		return nil, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	client := ssm.NewFromConfig(conf)
	keyOf := map[string]string{}
	for _, key := range keys {
		keyOf["/"+project+"/"+parameterOf[key]] = key
	}
	found := map[string]Found{}
	for names := range slices.Chunk(slices.Sorted(maps.Keys(keyOf)), pageSize) {
		page, err := client.GetParameters(ctx, &ssm.GetParametersInput{Names: names})
		if err != nil {
			return nil, unreadable(err, region, names)
		}
		for _, parameter := range page.Parameters {
			if parameter.Name != nil && parameter.Value != nil {
				found[keyOf[*parameter.Name]] = Found{Value: *parameter.Value, Parameter: *parameter.Name}
			}
		}
	}
	var missing []string
	for name, key := range keyOf {
		if found[key].Value == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, &Missing{Project: project, Region: region, Parameters: missing, All: len(missing) == len(keyOf)}
	}
	return found, nil
}

// unreadable says what it takes to read the parameters.
func unreadable(err error, region string, names []string) error {
	list := strings.Join(names, ", ")
	failure, ok := errors.AsType[smithy.APIError](err)
	switch {
	case ok && failure.ErrorCode() == "AccessDeniedException":
		return fmt.Errorf("these credentials may not read the SSM parameters %s in %s: attach the policy that the state stack exports as server-policy-arn, or set the values in gco.yaml: %w", list, region, err)
	case ok:
		return fmt.Errorf("reading the SSM parameters %s in %s: %w", list, region, err)
	default:
		return fmt.Errorf("asking SSM in %s for the parameters %s: %w; look at the credentials of AWS, the Region's name and the network", region, list, err)
	}
}

// Missing names parameters that are not there.
type Missing struct {
	Project, Region string
	Parameters      []string
	// All says that none was found.
	All bool
}

func (m *Missing) Error() string {
	list := strings.Join(m.Parameters, ", ")
	if m.All {
		return fmt.Sprintf("%s has none of the SSM parameters of project %q (%s): name the project by --project and the Region of its stacks by --global-region, or deploy the stacks %s-global and %s-state there", m.Region, m.Project, list, m.Project, m.Project)
	}
	return fmt.Sprintf("the SSM parameters %s are missing in %s: deploy the stack that has them (%s-global or %s-state), or set the values in gco.yaml", list, m.Region, m.Project, m.Project)
}
