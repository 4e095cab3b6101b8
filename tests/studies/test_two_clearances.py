"""A pharmacokinetic mixture against its truth, with a genotype that is partly missing; and where nothing is mixed."""

import jax
import numpy as np
import pytest

import mefit as mf
from workshop.studies import two_clearances as study


@pytest.mark.slow
def test_two_groups_by_a_genotype_that_is_partly_missing():
    people, fast, genotype = study.simulate(120, seed=4)
    told = np.asarray(people.subjects.covariates["genotype"])
    assert 15 < np.sum(told == study.UNKNOWN) < 45
    with pytest.raises(ValueError, match="no subject lacks 'genotype'"):
        mf.LinearGate(study.simulate(120, seed=4, missing=0.0).people, ["genotype"], missing={"genotype": -1})
    gate = mf.LinearGate(people, ["genotype"], missing={"genotype": study.UNKNOWN})
    fit = mf.fit(study.two_groups(gate), people, mf.EM(), progress=False)
    assert fit.converged
    table = fit.table
    truth = {"cl_1": study.CLEARANCES[0], "cl_2": study.CLEARANCES[1], "ka": study.KA, "v": study.V}
    truth |= {"sigma": study.ERROR}
    for name, value in truth.items():
        assert abs(table.estimate[name] - value) < 3.5 * table.se[name], name
    sds = np.sqrt(np.diag(fit.model.omega))
    np.testing.assert_allclose(sds, study.SD, atol=3.5 * study.SD / np.sqrt(2 * 120))
    right = (mf.responsibilities(fit)[2] > 0.5).to_numpy() == fast
    assert right.mean() > 0.9
    # what the gate says of people by their genotype alone, within three binomial errors of those who are fast
    says = mf.responsibilities(fit.model, people.until(-1.0))[2].to_numpy()
    for code in (0.0, 1.0, study.UNKNOWN):
        group = told == code
        share = fast[group].mean()
        assert abs(says[group][0] - share) < 0.08 and np.ptp(says[group]) < 1e-12, code
    assert abs(says[told == 0][0] - study.FAST[0]) < 3.0 * np.sqrt(0.09 / np.sum(told == 0)) + 0.05
    assert abs(says[told == 1][0] - study.FAST[1]) < 3.0 * np.sqrt(0.13 / np.sum(told == 1)) + 0.05


@pytest.mark.slow
def test_where_nothing_is_mixed_bic_says_one_group_in_at_least_95_of_100_studies():
    people = [study.simulate(40, seed=200 + number, clearances=(2.5, 2.5)).people for number in range(100)]
    one = mf.fit_many(study.one_group(), people)
    two = mf.fit_many(study.two_groups(), people, starts=3, key=jax.random.key(1))
    assert np.all(one.converged) and np.mean(two.converged) > 0.9
    gain = 2.0 * (two.log_likelihood - one.log_likelihood)
    assert gain.min() > -0.01, "one group is a special case of two"
    assert np.sum(gain < (two.x.shape[1] - one.x.shape[1]) * np.log(40)) >= 95
