package server

import (
	"net/http"

	"github.com/gco-project/gco/api"
)

var webhookParam = pathParam("id", "The ID of the webhook.")

func (s *Server) webhookRoutes() []*route {
	if s.webhooks == nil {
		return nil
	}
	one := []answer{jsonAnswer[api.Webhook](http.StatusOK, "The webhook as it is now.")}
	created := jsonAnswer[api.CreatedWebhook](http.StatusCreated, "The webhook with its secret, which is shown this once.")
	created.headers = location
	changes := []string{api.ProblemNotFound, api.ProblemUnavailable}
	return append([]*route{
		{
			id: "listWebhooks", method: get, path: "/api/v1/webhooks", tag: "webhooks", summary: "List webhooks",
			text: "Every webhook that the token may use, by ID, without the secrets.", roles: writers,
			params:  []param{textParam("namespace", "Only those of this namespace.")},
			answers: []answer{jsonAnswer[api.WebhookList](http.StatusOK, "The webhooks.")}, serve: (*call).listWebhooks,
		},
		{
			id: "createWebhook", method: post, path: "/api/v1/webhooks", tag: "webhooks", summary: "Create a webhook",
			text: "Events from now on are sent to an address, signed as Standard Webhooks has it, at least once each and in order for each subject. " +
				"The address must be public, unless an administrator allowed its network. A token with a limit to namespaces has to name one.",
			roles: writers, body: jsonBody[api.NewWebhook](maxBody), answers: []answer{created},
			problems: []string{api.ProblemLimited, api.ProblemUnavailable}, serve: (*call).createWebhook,
		},
		{
			id: "getWebhook", method: get, path: "/api/v1/webhooks/{id}", tag: "webhooks", summary: "Show a webhook",
			text: "One webhook, without the secret.", roles: writers, params: []param{webhookParam},
			answers: one, problems: []string{api.ProblemNotFound}, serve: (*call).showWebhook,
		},
		{
			id: "updateWebhook", method: patch, path: "/api/v1/webhooks/{id}", tag: "webhooks", summary: "Change a webhook",
			text: "Changes what the body names. Deliveries that are open go to the new address; the types count for events from now on.", roles: writers,
			params: []param{webhookParam}, body: jsonBody[api.WebhookUpdate](maxBody), answers: one, problems: changes, serve: (*call).updateWebhook,
		},
		{
			id: "deleteWebhook", method: remove, path: "/api/v1/webhooks/{id}", tag: "webhooks", summary: "Delete a webhook",
			text: "It goes with its deliveries; those that are being made may still arrive.", roles: writers, params: []param{webhookParam},
			answers:  []answer{{status: http.StatusNoContent, text: "It is gone."}},
			problems: append([]string{api.ProblemConflict}, changes...), serve: (*call).deleteWebhook,
		},
		{
			id: "rotateWebhook", method: post, path: "/api/v1/webhooks/{id}/rotate", tag: "webhooks", summary: "Rotate a webhook's secret",
			text: "Makes a new secret. For the overlap deliveries carry two signatures, so that the receiver can change over in its own time.", roles: writers,
			params: []param{webhookParam}, body: jsonBody[api.Rotation](maxBody),
			answers:  []answer{jsonAnswer[api.CreatedWebhook](http.StatusOK, "The webhook with its new secret, which is shown this once.")},
			problems: changes, serve: (*call).rotateWebhook,
		},
		{
			id: "pauseWebhook", method: post, path: "/api/v1/webhooks/{id}/pause", tag: "webhooks", summary: "Pause a webhook",
			text:  "Open deliveries wait; what happens from now on is not recorded for it. See redeliver.",
			roles: writers, params: []param{webhookParam}, answers: one, problems: append([]string{api.ProblemMalformed}, changes...), serve: (*call).pauseWebhook,
		},
		{
			id: "resumeWebhook", method: post, path: "/api/v1/webhooks/{id}/resume", tag: "webhooks", summary: "Resume a webhook",
			text:  "Open deliveries go on, and events from now on are delivered.",
			roles: writers, params: []param{webhookParam}, answers: one, problems: append([]string{api.ProblemMalformed}, changes...), serve: (*call).resumeWebhook,
		},
		{
			id: "testWebhook", method: post, path: "/api/v1/webhooks/{id}/test", tag: "webhooks", summary: "Test a webhook",
			text:  "Makes an event webhook.test for this webhook alone, whatever its types. Its deliveries show what became of it.",
			roles: writers, params: []param{webhookParam},
			answers:  []answer{jsonAnswer[api.WebhookTest](http.StatusAccepted, "The event is made.")},
			problems: append([]string{api.ProblemMalformed, api.ProblemNotPossible}, changes...), serve: (*call).testWebhook,
		},
	}, s.deliveryRoutes()...)
}

func (s *Server) deliveryRoutes() []*route {
	return []*route{
		{
			id: "listDeliveries", method: get, path: "/api/v1/webhooks/{id}/deliveries", tag: "webhooks", summary: "List a webhook's deliveries",
			text: "Newest first. Those that were done or given up are kept for three days, unless configured otherwise.", roles: writers,
			params: []param{
				webhookParam, choiceParam("state", "Only those in this state.", "open", "done", "dead"),
				textParam("subject", "Only those about this subject, such as job/ID."),
				wholeParam("limit", "The size of a page; 50 if absent.", 1, maxLimit),
				textParam("cursor", "The nextCursor of the page before."),
			},
			answers:  []answer{jsonAnswer[api.DeliveryList](http.StatusOK, "One page of deliveries, without what is sent.")},
			problems: []string{api.ProblemBadCursor, api.ProblemNotFound}, serve: (*call).listDeliveries,
		},
		{
			id: "getDelivery", method: get, path: "/api/v1/webhooks/{id}/deliveries/{delivery}", tag: "webhooks", summary: "Show a delivery",
			text:  "One delivery with what is sent, and each try with its time and its answer.",
			roles: writers, params: []param{webhookParam, pathParam("delivery", "The ID of the delivery.")},
			answers:  []answer{jsonAnswer[api.Delivery](http.StatusOK, "The delivery.")},
			problems: []string{api.ProblemNotFound}, serve: (*call).showDelivery,
		},
		{
			id: "redeliver", method: post, path: "/api/v1/webhooks/{id}/redeliver", tag: "webhooks", summary: "Make deliveries again",
			text: "Either some by their IDs, whatever became of them; or a range of time: those that were given up, and events of which the webhook was not " +
				"told because it was paused or did not exist, as far as their jobs are still there. A range is gone through in steps: go on with nextCursor.",
			roles: writers, params: []param{webhookParam}, body: jsonBody[api.Redelivery](maxBody),
			answers:  []answer{jsonAnswer[api.Redelivered](http.StatusOK, "So many are to be made again.")},
			problems: []string{api.ProblemBadCursor, api.ProblemNotFound, api.ProblemUnavailable}, serve: (*call).redeliver,
		},
	}
}
