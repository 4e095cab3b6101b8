// One-compartment oral kinetics with log-normal ka, CL, V and additive error: the model of the README.
#include <TMB.hpp>

template <class Type>
Type objective_function<Type>::operator()() {
  DATA_VECTOR(time);
  DATA_VECTOR(y);
  DATA_VECTOR(dose);
  DATA_IVECTOR(subject);
  PARAMETER_VECTOR(log_theta);  // ka, CL, V
  PARAMETER_VECTOR(log_sd);     // of the random effects
  PARAMETER(log_sigma);
  PARAMETER_MATRIX(eta);  // a row for each subject
  Type loss = 0;
  for (int i = 0; i < eta.rows(); i++) {
    for (int k = 0; k < 3; k++) loss -= dnorm(eta(i, k), Type(0), exp(log_sd(k)), true);
  }
  for (int j = 0; j < y.size(); j++) {
    Type ka = exp(log_theta(0) + eta(subject(j), 0));
    Type cl = exp(log_theta(1) + eta(subject(j), 1));
    Type v = exp(log_theta(2) + eta(subject(j), 2));
    Type ke = cl / v;
    Type mean = dose(j) * ka / (v * (ka - ke)) * (exp(-ke * time(j)) - exp(-ka * time(j)));
    loss -= dnorm(y(j), mean, exp(log_sigma), true);
  }
  return loss;
}
