package micro

// PlanTuning is TuneRuntime without the deeds.
var PlanTuning = plan
