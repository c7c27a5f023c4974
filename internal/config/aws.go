package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Profile is a set of defaults for the AWS section. Every field may still be
// set by itself.
type Profile string

const (
	// ProfileProduction keeps data when a stack goes, grants the least
	// privilege, raises alarms and runs no Lambda function of its own.
	ProfileProduction Profile = "production"
	// ProfileSeed is the behaviour of the stack that GCO started from: one
	// Region for the tables, everything deleted with the stack.
	ProfileSeed Profile = "seed"
)

// Removal says what becomes of a resource that holds data when its stack is
// deleted or the resource leaves the template.
type Removal string

const (
	// RemovalRetain leaves the resource in the account, with its data. Deploying
	// again under the same names then takes an import.
	RemovalRetain Removal = "retain"
	// RemovalDestroy deletes the resource and its data.
	RemovalDestroy Removal = "destroy"
)

// AWS is the global layer in an AWS account. What costs money is listed, with
// its price, in docs/aws-costs.md.
type AWS struct {
	Profile       Profile           `json:"profile" doc:"The set of defaults for this section." enum:"production,seed"`
	Region        string            `json:"region" doc:"Home Region of the global stack: tables, model bucket, backups. Claims are made here. Global Accelerator has its metrics in us-west-2; with a home elsewhere its alarms need a second stack. Empty, the default of profile seed: the Region that the AWS credentials of the deployment name." region:"optional"`
	Regions       []string          `json:"regions" doc:"AWS Regions that get an endpoint group of the accelerator." minItems:"1" maxItems:"42" uniqueItems:"true" region:"required"`
	Accelerator   Accelerator       `json:"accelerator" doc:"The front door."`
	LoadBalancers []LoadBalancer    `json:"loadBalancers" doc:"Load balancers that are members of their Region's endpoint group. A Region without one gets no traffic." maxItems:"420"`
	Tables        Tables            `json:"tables" doc:"The four DynamoDB tables."`
	Buckets       Buckets           `json:"buckets" doc:"The model bucket and the bucket of its access logs."`
	Backup        Backup            `json:"backup" doc:"Scheduled backups of the tables."`
	State         State             `json:"state" doc:"The second stack, {project}-state: what gco server keeps beside the four tables."`
	Alarms        Alarms            `json:"alarms" doc:"CloudWatch alarms and the topic they notify."`
	Removal       Removal           `json:"removal" doc:"What happens to tables, buckets, keys and the vault when the stack is deleted." enum:"retain,destroy"`
	Tags          map[string]string `json:"tags" doc:"Tags on every resource that takes them."`
}

// Accelerator is the Global Accelerator and the health check of its endpoint
// groups.
type Accelerator struct {
	Name        string      `json:"name" doc:"Name of the accelerator." minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$" patternDescription:"letters, digits and hyphens, with a letter or digit at both ends"`
	HealthCheck HealthCheck `json:"healthCheck" doc:"HTTP on port 80. For a load balancer the accelerator asks its target group instead, which should check the same path."`
}

// HealthCheck is how the accelerator asks an endpoint whether it is healthy.
type HealthCheck struct {
	Path            string `json:"path" doc:"Path that answers 200 while the region can serve." minLength:"1" maxLength:"255" pattern:"^/[-A-Za-z0-9@:%_.+~#?&/=]*$" patternDescription:"an absolute URL path"`
	IntervalSeconds int    `json:"intervalSeconds" doc:"Seconds between two checks. The service knows these two values." enum:"10,30"`
}

// LoadBalancer is a member of its Region's endpoint group.
type LoadBalancer struct {
	Region           string `json:"region" doc:"One of aws.regions." region:"required"`
	ARN              string `json:"arn" doc:"ARN of an application or network load balancer in that Region." minLength:"1"`
	Weight           int    `json:"weight" doc:"Share of the group's traffic, relative to the other members. 0 takes the load balancer out without removing it." minimum:"0" maximum:"255"`
	PreserveClientIP bool   `json:"preserveClientIP" doc:"Hand the client's address on to the load balancer. An internal load balancer and one with a security group that names clients need it; a network load balancer with a TLS listener, or without security groups, needs false, since Global Accelerator can't do it there."`
}

func (l *LoadBalancer) setDefaults() {
	// AWS's own default weight.
	*l = LoadBalancer{Weight: 128, PreserveClientIP: true}
}

// Tables are settings of the DynamoDB tables.
type Tables struct {
	DeletionProtection bool     `json:"deletionProtection" doc:"Refuse to delete a table until this is switched off."`
	Global             bool     `json:"global" doc:"Define the tables as global tables, so that replicas can be added to them later. Choose before the first deployment: CloudFormation can't turn one kind into the other in place."`
	Replicas           []string `json:"replicas" doc:"Further AWS Regions that hold a copy of each table, for reading and disaster recovery. Needs global." uniqueItems:"true" region:"required"`
}

// Buckets are settings of the two S3 buckets.
type Buckets struct {
	AccessLogRetentionDays int  `json:"accessLogRetentionDays" doc:"Days after which access logs expire." minimum:"1"`
	EmptyOnDelete          bool `json:"emptyOnDelete" doc:"Empty the buckets when the stack is deleted, by a Lambda function that CDK adds. Needs removal: destroy."`
}

// BackupRole is who AWS Backup acts as.
type BackupRole string

const (
	// BackupRoleScoped may back up the four tables and nothing else.
	BackupRoleScoped BackupRole = "scoped"
	// BackupRoleManaged holds AWS's managed policy, which reaches every
	// supported resource of the account.
	BackupRoleManaged BackupRole = "managed"
)

// Backup is settings of the backup plan.
type Backup struct {
	Role BackupRole `json:"role" doc:"Whom AWS Backup acts as: scoped may back up the four tables only, managed has AWS's account-wide policy." enum:"scoped,managed"`
}

// State is the stack of what the four tables have no place for.
type State struct {
	Enabled bool `json:"enabled" doc:"Build the stack: two tables, a bucket for archived logs and large manifests, and a policy for gco server, which needs them."`
}

// Alarms are the CloudWatch alarms on the global layer.
type Alarms struct {
	Enabled bool     `json:"enabled" doc:"Create the alarms and their topic."`
	Emails  []string `json:"emails" doc:"Addresses that are told. Each has to confirm by the mail it gets." uniqueItems:"true"`
}

func defaultAWS(profile Profile) AWS {
	seed := profile == ProfileSeed
	aws := AWS{
		Profile: profile,
		Region:  "us-west-2",
		Regions: []string{"us-east-1"},
		Accelerator: Accelerator{
			Name:        "gco-accelerator",
			HealthCheck: HealthCheck{Path: "/api/v1/health", IntervalSeconds: 30},
		},
		Tables:  Tables{DeletionProtection: !seed, Global: !seed},
		Buckets: Buckets{AccessLogRetentionDays: 90, EmptyOnDelete: seed},
		Backup:  Backup{Role: BackupRoleScoped},
		State:   State{Enabled: !seed},
		Alarms:  Alarms{Enabled: !seed},
		Removal: RemovalRetain,
	}
	if seed {
		aws.Region = ""
		aws.Backup.Role = BackupRoleManaged
		aws.Removal = RemovalDestroy
	}
	return aws
}

var loadBalancerARN = regexp.MustCompile(`^arn:aws:elasticloadbalancing:([a-z0-9-]+):\d{12}:loadbalancer/(app|net)/[A-Za-z0-9-]+/[0-9a-f]+$`)

func (a AWS) validate(path string) []Fault {
	var faults []Fault
	if a.Region != "" || a.Tables.Global {
		// A global table lists its home Region among its replicas.
		faults = checkRegion(path+".region", a.Region)
	}
	for i, region := range a.Regions {
		faults = append(faults, checkRegion(fmt.Sprintf("%s.regions[%d]", path, i), region)...)
	}
	faults = append(faults, a.validateLoadBalancers(path+".loadBalancers")...)
	faults = append(faults, a.validateTables(path+".tables")...)
	faults = append(faults, a.validateTags(path+".tags")...)
	if a.Buckets.EmptyOnDelete && a.Removal == RemovalRetain {
		faults = append(faults, faultf(path+".buckets.emptyOnDelete", "needs %s.removal: destroy; a retained bucket is not emptied", path))
	}
	for i, address := range a.Alarms.Emails {
		if user, host, found := strings.Cut(address, "@"); !found || user == "" || !strings.Contains(host, ".") {
			faults = append(faults, faultf(fmt.Sprintf("%s.alarms.emails[%d]", path, i), "an email address expected, found %q", address))
		}
	}
	return faults
}

func (a AWS) validateLoadBalancers(path string) []Fault {
	var faults []Fault
	first := map[string]int{}
	members := map[string]int{}
	for i, balancer := range a.LoadBalancers {
		at := fmt.Sprintf("%s[%d]", path, i)
		if !slices.Contains(a.Regions, balancer.Region) {
			faults = append(faults, faultf(at+".region", "%q is not one of aws.regions", balancer.Region))
		}
		if balancer.ARN == "" {
			continue // the tag's check has said so
		}
		switch match := loadBalancerARN.FindStringSubmatch(balancer.ARN); {
		case match == nil:
			faults = append(faults, faultf(at+".arn", "the ARN of an application or network load balancer expected, found %q", balancer.ARN))
		case match[1] != balancer.Region:
			faults = append(faults, faultf(at+".arn", "the load balancer is in %s, the endpoint group in %q", match[1], balancer.Region))
		}
		if at0, twice := first[balancer.ARN]; twice {
			faults = append(faults, faultf(at+".arn", "duplicate of %s[%d]", path, at0))
		} else {
			first[balancer.ARN] = i
		}
		// AWS's quota of endpoints in one endpoint group.
		members[balancer.Region]++
		if members[balancer.Region] == 11 {
			faults = append(faults, faultf(at+".region", "an endpoint group takes at most 10 endpoints"))
		}
	}
	return faults
}

func (a AWS) validateTables(path string) []Fault {
	var faults []Fault
	if len(a.Tables.Replicas) > 0 && !a.Tables.Global {
		faults = append(faults, faultf(path+".replicas", "needs %s.global: true", path))
	}
	for i, region := range a.Tables.Replicas {
		at := fmt.Sprintf("%s.replicas[%d]", path, i)
		faults = append(faults, checkRegion(at, region)...)
		if region == a.Region {
			faults = append(faults, faultf(at, "%s is the home Region, which always has the table", region))
		}
	}
	return faults
}

func (a AWS) validateTags(path string) []Fault {
	var faults []Fault
	for _, key := range slices.Sorted(maps.Keys(a.Tags)) {
		at := joinPath(path, key)
		switch {
		case key == "" || len(key) > 128:
			faults = append(faults, faultf(at, "a tag's key has 1 to 128 characters, this one has %d", len(key)))
		case strings.HasPrefix(strings.ToLower(key), "aws:"):
			faults = append(faults, faultf(at, "keys that start with aws: belong to AWS"))
		case len(a.Tags[key]) > 256:
			faults = append(faults, faultf(at, "a tag's value has at most 256 characters, this one has %d", len(a.Tags[key])))
		}
	}
	return faults
}

// validateProject refuses names that AWS would refuse at deployment.
func (c Config) validateProject() []Fault {
	for _, reserved := range []string{"aws", "ssm"} {
		if strings.HasPrefix(strings.ToLower(c.Project), reserved) {
			return []Fault{faultf("project", "must not start with %q: AWS reserves such parameter names", reserved)}
		}
	}
	return nil
}
