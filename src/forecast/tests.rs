//! Forecasts of patterns that are known, and a back-test against the run rate (docs/forecast.md has its table).

use super::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

#[test]
fn little_history_is_carried_on_by_its_run_rate() {
    let seen = forecast(&[0, 0, 6, 2], 10);
    assert_eq!((seen.method, seen.on_top_of(8).sum), (Method::RunRate, 48));
    assert_eq!(
        (seen.used_up_after(8), seen.used_up_after(40), seen.used_up_after(41)),
        (Some(2_000), Some(10_000), None)
    );
    assert_eq!((seen.used_up_after(0), seen.used_up_after(6)), (Some(0), Some(1_500)));
    let none = forecast(&[], 5);
    assert_eq!((none.on_top_of(3), none.used_up_after(1)), (Expected { sum: 3, low: 3, high: 3 }, None));
}

#[test]
fn a_daily_pattern_is_carried_on() {
    let hours: Vec<i64> = (0..5 * 24).map(|hour| if (8..18).contains(&(hour % 24)) { 100 } else { 0 }).collect();
    let seen = forecast(&hours, 24);
    assert!(matches!(seen.method, Method::Daily), "{:?}", seen.method);
    let by_day: i64 = seen.hours().skip(8).take(10).sum();
    assert!((950..=1_050).contains(&by_day), "{by_day} by day");
    let sum = seen.on_top_of(0).sum;
    assert!((950..=1_100).contains(&sum), "{sum} in all");
}

#[test]
fn days_are_carried_on_from_the_midst_of_one() {
    let seen = forecast_from_days(&[240; 20], 120, 500, 10);
    assert_eq!(seen.on_top_of(120).sum, 120 + 120 + 2_400);
    assert_eq!(seen.used_up_after(240), Some(24_000));
    // The first day: half of it is over.
    assert_eq!(forecast_from_days(&[], 100, 500, 2).on_top_of(100).sum, 600);
    assert_eq!(forecast_from_days(&[], 0, 1_000, 2).on_top_of(0).sum, 0);
}

#[test]
fn numbers_at_the_ends_do_no_harm() {
    for hours in [vec![i64::MAX; 400], vec![0; 400], vec![-5; 400], vec![i64::MIN, 0, i64::MAX]] {
        let seen = forecast(&hours, 744);
        let Expected { sum, low, high } = seen.on_top_of(i64::MAX / 2);
        assert!(low <= sum && sum <= high, "{low} {sum} {high}");
        assert!(seen.hours().all(|hour| hour >= 0));
    }
}

/// A month of hours. Each pattern is a way in which agents are used.
fn pattern(name: &str, random: &mut StdRng) -> Vec<i64> {
    let mut noise = |spread: i64| random.random_range(-spread..=spread);
    (0..30 * 24)
        .map(|hour: i64| {
            let (day, of_day) = (hour / 24, hour % 24);
            let by_day = if (7..20).contains(&of_day) { 100 } else { 15 };
            let count = match name {
                "steady" => 60 + noise(10),
                "daily" => by_day + noise(10),
                "weekday" => (if day % 7 < 5 { by_day } else { 8 }) + noise(8),
                "growth" => by_day * (100 + 4 * day) / 100 + noise(10),
                "burst" => by_day + if day % 9 == 4 && (10..14).contains(&of_day) { 1_500 } else { 0 } + noise(10),
                other => panic!("no pattern {other}"),
            };
            count.max(0)
        })
        .collect()
}

/// Counts of requests by hour of a trace of some hours, stretched to a month.
fn trace(text: &str) -> Vec<i64> {
    let seconds = |line: &str| {
        let time = line.split(',').next()?;
        let (day, clock) = time.split_once(' ')?;
        let mut parts = clock.split(':').map(|part| part.parse::<f64>().ok());
        let day: f64 = day.rsplit('-').next()?.parse().ok()?;
        Some(((day * 24.0 + parts.next()??) * 60.0 + parts.next()??) * 60.0 + parts.next()??)
    };
    let times: Vec<f64> = text.lines().skip(1).filter_map(seconds).collect();
    let (first, last) = (times[0], times[times.len() - 1]);
    let mut hours = vec![0; 30 * 24];
    for time in times {
        let hour = ((time - first) / (last - first) * 719.0) as usize;
        hours[hour] += 1;
    }
    hours
}

/// The forecasts of the total at the end of the month, seen from each of the days 4 to 27, and that total.
fn estimates(hours: &[i64], by: impl Fn(&[i64], usize) -> Forecast) -> (Vec<Expected>, i64) {
    let seen_from = |day: usize| {
        let (known, left) = hours.split_at(day * 24);
        by(known, left.len()).on_top_of(known.iter().sum())
    };
    ((4..28).map(seen_from).collect(), hours.iter().sum())
}

/// Their mean error, in percent of the total.
fn error_percent(hours: &[i64], by: impl Fn(&[i64], usize) -> Forecast) -> f64 {
    let (estimates, total) = estimates(hours, by);
    let errors = estimates.iter().map(|expected| (expected.sum - total).abs() as f64);
    errors.sum::<f64>() * 100.0 / total.max(1) as f64 / estimates.len() as f64
}

/// How many of a hundred have the total within their bounds.
fn held_percent(hours: &[i64], by: impl Fn(&[i64], usize) -> Forecast) -> usize {
    let (estimates, total) = estimates(hours, by);
    estimates.iter().filter(|expected| (expected.low..=expected.high).contains(&total)).count() * 100 / estimates.len()
}

/// Prints the table of docs/forecast.md: `cargo test --lib forecast -- --nocapture`. What has a pattern is forecast better
/// than by the run rate, and what has none not much worse.
#[test]
fn c10_back_test_against_the_run_rate() {
    let mut random = StdRng::seed_from_u64(11);
    let plain =
        |known: &[i64], ahead: usize| run_rate(&known.iter().map(|count| *count as f64).collect::<Vec<_>>(), ahead);
    // The mean of all that is known, as spreadsheets do it.
    let whole = |known: &[i64], ahead: usize| {
        let rate = known.iter().sum::<i64>() as f64 / known.len() as f64;
        Forecast { method: Method::RunRate, hours: vec![rate; ahead], spread: Spread { day: 0.0, level: 0.0 } }
    };
    let began = std::time::Instant::now();
    let hours = pattern("growth", &mut random);
    (0..20).for_each(|_| assert!(forecast(&hours, 24).on_top_of(0).sum > 0));
    println!("{} us for a forecast from 30 days", began.elapsed().as_micros() / 20);
    println!(
        "| pattern | run rate of the last day | of the whole period | forecast | bounds held |\n|---|---|---|---|---|"
    );
    let mut cases: Vec<(String, Vec<i64>)> = ["steady", "daily", "weekday", "growth", "burst"]
        .into_iter()
        .map(|name| (name.to_owned(), pattern(name, &mut random)))
        .collect();
    let conv = include_str!("../../data/azure-llm-2023-conv-3000.csv");
    cases.push(("azure conv, 3,000 rows".to_owned(), trace(conv)));
    for file in std::env::var("BURSAR_TRACES").unwrap_or_default().split_whitespace() {
        let text = std::fs::read_to_string(file).expect("a trace");
        cases.push((file.rsplit('/').next().unwrap_or(file).to_owned(), trace(&text)));
    }
    for (name, hours) in cases {
        let [plain, whole, ours] =
            [error_percent(&hours, plain), error_percent(&hours, whole), error_percent(&hours, forecast)];
        // One month says little: what is seen from its days errs to the same side.
        let months = if name.contains("azure") { 1 } else { 20 };
        let again = (1..months).map(|_| pattern(&name, &mut random));
        let held = std::iter::once(hours.clone()).chain(again).map(|hours| held_percent(&hours, forecast));
        let held = held.sum::<usize>() / months;
        let least = if name == "growth" { 40 } else { 65 };
        assert!(months == 1 || held >= least, "{name}: the bounds held in {held} % of cases");
        println!("| {name} | {plain:.1} % | {whole:.1} % | {ours:.1} % | {held} % |");
        // What is estimated from sums by day is the same.
        let from_days = |known: &[i64], ahead: usize| {
            let days: Vec<i64> = known.chunks(24).map(|day| day.iter().sum()).collect();
            forecast_from_days(&days, 0, 1_000, ahead / 24 - 1)
        };
        let from_days = error_percent(&hours, from_days);
        assert!((from_days - ours).abs() < 0.5, "{name}: {from_days:.1} % from days");
        assert!(ours < plain.min(whole) + 5.0, "{name}: {ours:.1} % against {plain:.1} % and {whole:.1} %");
    }
}
