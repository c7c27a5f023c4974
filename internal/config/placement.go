package config

import "time"

// Placement is how regions are chosen. timing has the times that placement
// shares with the rest of the queue.
type Placement struct {
	Weights       Weights       `json:"weights" doc:"How much each term of a region's score counts, relative to the others."`
	ReserveAfter  time.Duration `json:"reserveAfter" doc:"How long a job may find every region too busy before nodes are kept free for it." minimum:"0s" maximum:"24h"`
	ProvisionTime time.Duration `json:"provisionTime" doc:"How long a region needs to add a node. It counts as expected wait where a job needs nodes that do not exist yet." minimum:"0s" maximum:"24h"`
}

// Weights say how much each term of a score counts. Only their ratios matter.
type Weights struct {
	ExpectedWait   float64 `json:"expectedWait" doc:"A job starts soon there." minimum:"0" maximum:"1000"`
	FreeShare      float64 `json:"freeShare" doc:"Much of what suits the job is free there." minimum:"0" maximum:"1000"`
	Price          float64 `json:"price" doc:"The job is cheap there." minimum:"0" maximum:"1000"`
	Locality       float64 `json:"locality" doc:"The job's model is there already." minimum:"0" maximum:"1000"`
	RecentFailures float64 `json:"recentFailures" doc:"What the job needs was lately to be had there." minimum:"0" maximum:"1000"`
}

func defaultPlacement() Placement {
	return Placement{
		Weights:       Weights{ExpectedWait: 3, FreeShare: 2, Price: 3, Locality: 1, RecentFailures: 1},
		ReserveAfter:  10 * time.Minute,
		ProvisionTime: 3 * time.Minute,
	}
}

func (p Placement) validate(path string) []Fault {
	if p.Weights == (Weights{}) {
		return []Fault{faultf(path+".weights", "all are 0; at least one must count")}
	}
	return nil
}
