//! What is told of the tables over HTTP.

use serde_json::Value as Json;

use super::names::{literal, quoted};
use super::{Place, Trouble};

/// The violations that are told, the latest first; all of them stand in the database.
const TOLD_VIOLATIONS: usize = 20;

/// The state of the tables, where the data is at a revision.
///
/// # Errors
///
/// The database cannot be asked, or there are no tables yet.
pub async fn state(place: &Place, head: u64) -> Result<Json, Trouble> {
    let client = place.gate.connect(|| {}).await?;
    let told = |error| Trouble::Database(place.gate.error(&error));
    let within = quoted(&place.within);
    client.batch_execute("SET search_path = pg_catalog; SET timezone = 'UTC'").await.map_err(told)?;
    let there = format!("SELECT to_regclass({}) IS NOT NULL", literal(&format!("{within}._state")));
    if !client.query_one(&there, &[]).await.map_err(told)?.get::<_, bool>(0) {
        return Err(Trouble::Later("the tables in SQL have yet to be made".into()));
    }
    let text = format!(
        "SELECT jsonb_build_object(
           'schema', {}, 'follower', follower, 'revision', revision::text, 'at', at,
           'behind', $1::text::int8 - revision, 'problems', to_jsonb(problems),
           'changes', (SELECT count(*) FROM {within}._changes),
           'violations', jsonb_build_object(
             'count', (SELECT count(*) FROM {within}._violations),
             'last', (SELECT coalesce(jsonb_agg(to_jsonb(v) ORDER BY v.n DESC), '[]')
                      FROM (SELECT * FROM {within}._violations ORDER BY n DESC LIMIT {TOLD_VIOLATIONS}) AS v)))::text
         FROM {within}._state",
        literal(&place.within)
    );
    let row = client.query_one(&text, &[&head.to_string()]).await.map_err(told)?;
    serde_json::from_str(&row.get::<_, String>(0)).map_err(|error| Trouble::Unusable(error.to_string()))
}
