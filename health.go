package micro

import (
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
)

// registryHealth is the health service that says whether this instance can be
// found: "healthy but unreachable" has to show somewhere.
const registryHealth = "micro.registry"

// registerInfrastructure adds what every server has, but for what the user
// registered already.
func (s *Service) registerInfrastructure() {
	s.setHealth(grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	info := s.services.GetServiceInfo()
	if _, own := info[grpc_health_v1.Health_ServiceDesc.ServiceName]; !own {
		grpc_health_v1.RegisterHealthServer(&s.services, s.health)
	}
	if _, own := info[grpc_reflection_v1.ServerReflection_ServiceDesc.ServiceName]; !own && s.opts.reflection {
		reflection.Register(&s.services)
	}
}

// setHealth sets the status of the whole server, of the name it is found by,
// and of each of its grpc services.
func (s *Service) setHealth(status grpc_health_v1.HealthCheckResponse_ServingStatus) {
	s.health.SetServingStatus("", status)
	s.health.SetServingStatus(s.name, status)
	for name := range s.services.GetServiceInfo() {
		if !infrastructure(name) {
			s.health.SetServingStatus(name, status)
		}
	}
}
