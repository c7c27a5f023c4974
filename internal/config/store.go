package config

// Driver is a kind of database.
type Driver string

// The drivers.
const (
	// DriverSQLite keeps everything in a file of server.dir.
	DriverSQLite Driver = "sqlite"
	// DriverDynamoDB keeps everything in tables of an AWS account.
	DriverDynamoDB Driver = "dynamodb"
)

// Store is where the control plane keeps everything.
type Store struct {
	Driver      Driver     `json:"driver" doc:"sqlite: a file in server.dir, for one server. dynamodb: tables that infra/ makes, for any number of servers." enum:"sqlite,dynamodb"`
	Region      string     `json:"region" doc:"AWS Region of the tables. Empty: aws.region." region:"optional"`
	EndpointURL string     `json:"endpointURL" doc:"Where a service answers that stands in for DynamoDB, such as http://127.0.0.1:8000. Tables are made there where they are missing. Empty: AWS." pattern:"^https?://.+" patternDescription:"a URL such as http://127.0.0.1:8000"`
	Tables      TableNames `json:"tables" doc:"Names of the tables. Empty ones are read from the SSM parameters of the project; with endpointURL they are {project}-jobs and so on."`
}

// TableNames are the names of the tables of one project.
type TableNames struct {
	Jobs               string `json:"jobs" doc:"Records of jobs." maxLength:"255"`
	JobTemplates       string `json:"jobTemplates" doc:"Templates." maxLength:"255"`
	Webhooks           string `json:"webhooks" doc:"Webhooks." maxLength:"255"`
	InferenceEndpoints string `json:"inferenceEndpoints" doc:"Inference endpoints." maxLength:"255"`
	State              string `json:"state" doc:"Queues, sessions and leases." maxLength:"255"`
	Events             string `json:"events" doc:"History and events." maxLength:"255"`
}

func (s Store) validate(path string) []Fault {
	if s.Region == "" {
		return nil
	}
	return checkRegion(path+".region", s.Region)
}
